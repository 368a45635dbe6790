"""A daemon with HTTP, and curl and requests to talk to it."""

import subprocess
from pathlib import Path

import requests
from client import TIMEOUT_S
from daemon import Daemon, free_port

JSON = {"Content-Type": "application/json"}
BYTES = {"Content-Type": "application/octet-stream"}


class Rest:
    """The HTTP address of a daemon."""

    def __init__(self, folder: Path, settings: str, more: str = "", **extra: str):
        self.host = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.host}"
        self.daemon = Daemon(folder, f'http = ["tcp://{self.host}"]\n{settings}\n{more}', **extra)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.daemon.__exit__(*failure)

    def call(self, method: str, path: str, **arguments) -> requests.Response:
        return requests.request(method, self.url + path, timeout=TIMEOUT_S, **arguments)

    def post(self, path: str, **arguments) -> requests.Response:
        """Must be answered well."""
        answer = self.call("POST", path, **arguments)
        assert answer.ok, answer.text
        return answer

    def sessions(self) -> list[dict]:
        return self.call("GET", "/v1/status").json()["sessions"]

    def curl(self, *arguments: str, **more) -> subprocess.CompletedProcess:
        command = ["curl", "--silent", "--show-error", "--max-time", str(TIMEOUT_S), *arguments]
        return subprocess.run(command, capture_output=True, timeout=TIMEOUT_S + 10, **more)


def problem(answer: requests.Response) -> tuple[int, str, str]:
    """What was wrong, as RFC 9457 tells it; it must be told so."""
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    said = answer.json()
    assert said["status"] == answer.status_code and said["type"] == "about:blank" and said["title"]
    return answer.status_code, said["code"], said["detail"]
