"""The program in README.md is a program."""

import re
import subprocess
import sys

from contract import ROOT, STUBS
from daemon import environment


def test_the_first_stream_of_the_readme_runs(daemon, tmp_path):
    [program] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert "127.0.0.1:50051" in program
    done = subprocess.run(
        [sys.executable, "-c", program.replace("127.0.0.1:50051", daemon.address)],
        env=environment(PYTHONPATH=STUBS),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "rten" in lines[0], done.stdout
    assert len(lines) == 11 and all("cells" in line for line in lines[1:]), done.stdout
