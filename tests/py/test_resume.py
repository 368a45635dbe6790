"""The daemon is killed under load and started again: the example client loses no frame and knows which ones it sent again."""

import re
import signal
import subprocess
import threading
import time

from daemon import BIN, TARGET, environment, free_port
from contract import ROOT

RESUME = TARGET / "debug/examples/resume"
FRAMES, PER_SECOND, KILLS = 300, 60, 3
PATIENCE_S = 180


class Supervisor:
    """Starts the daemon again whenever it ends, as systemd does."""

    def __init__(self, folder, model):
        self.address = f"127.0.0.1:{free_port()}"
        config = folder / "cellsegd.toml"
        config.write_text(f'listen = ["tcp://{self.address}"]\nmodels = ["{model}"]\n[engine]\nkind = "rten"\n')
        self._command = [BIN, "serve", "--config", config]
        self._log = (folder / "log").open("w")
        self._over = threading.Event()
        self._process = self._start()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._over.set()
        self.kill()
        self._thread.join()
        self._log.close()

    def kill(self):
        self._process.kill()

    def kill_with_frames_in_flight(self):
        """Stopped first: a fast daemon may have answered everything just then."""
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(10 / PER_SECOND)
        self.kill()

    def _start(self):
        return subprocess.Popen(self._command, env=environment(), cwd=ROOT, stdout=self._log, stderr=self._log)

    def _watch(self):
        while True:
            self._process.wait()
            if self._over.wait(0.2):
                return
            self._process = self._start()


def test_a_client_resumes_by_itself_when_the_daemon_is_killed(tmp_path, tiny_model):
    lines: list[str] = []
    with Supervisor(tmp_path, tiny_model) as supervisor:
        client = subprocess.Popen(
            [RESUME, f"http://{supervisor.address}", str(FRAMES), str(PER_SECOND)], stdout=subprocess.PIPE, text=True
        )
        reading = threading.Thread(target=lambda: lines.extend(client.stdout))
        reading.start()
        until = time.monotonic() + PATIENCE_S
        for kill in range(1, KILLS + 1):
            # Well under way each time: answers have come since the last kill.
            answered = kill * FRAMES // (KILLS + 1)
            while sum(line.startswith("frame ") for line in lines) < answered and time.monotonic() < until:
                time.sleep(0.01)
            supervisor.kill_with_frames_in_flight()
        try:
            assert client.wait(PATIENCE_S) == 0
        finally:
            client.kill()
            reading.join()

    answers = [re.fullmatch(r"frame (\d+): \d+ cells, sent (\d+) times\n", line) for line in lines if line.startswith("frame ")]
    assert all(answers), lines
    ids = [int(answer[1]) for answer in answers]
    assert ids == sorted(ids), "answers come in order, across sessions too"
    assert ids == list(range(FRAMES)), "every frame is answered once"
    # The client's own word about each break, against what it then did.
    breaks = [re.search(r"not answered:((?: \d+)*)", line) for line in lines if line.startswith("interrupted")]
    unanswered = [int(id) for each in breaks for id in each[1].split()]
    times_sent = {int(answer[1]): int(answer[2]) for answer in answers}
    again = [id for id, times in times_sent.items() if times > 1]
    assert again == sorted(set(unanswered))
    assert again, "killed under load, some frames are in flight"
    account = re.fullmatch(r"account: (\d+) frames, (\d+) answered, 0 refused, (\d+) interruptions, (\d+) sent again\n", lines[-1])
    assert account, lines[-1]
    assert [int(number) for number in account.groups()] == [FRAMES, FRAMES, len(breaks), sum(times_sent.values()) - FRAMES]
    assert len(breaks) >= KILLS
