"""Stress: a daemon with fake lanes, one good session on it, and everything that strangers and machines do to daemons.

`tools/stress [--seconds N] [--only WORD] [--camera] [--report FILE]`. For each scenario: the good session's latency before, during and after;
what the daemon holds before and after; whether a new client is served at the end. The table goes into FILE between its marks.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import camera
from daemon_under_test import MS_PER_FRAME, ROOT, Watched, percentile
from scenarios import SCENARIOS, Scenario

# Of the median.
FACTOR = 2.0
# What an allocator keeps for the next time.
RSS_GROWTH_MIB = 48.0


@dataclass
class Row:
    name: str
    note: str
    latency: dict[str, tuple[float, float]]
    rss: tuple[float, float]
    fds: tuple[int, int]
    cpu: float
    failures: list[str]

    def cells(self) -> list[str]:
        both = [f"{p50:.1f} / {p99:.1f}" for p50, p99 in self.latency.values()]
        verdict = "yes" if not self.failures else "**no**: " + "; ".join(self.failures)
        held = [f"{self.rss[0]:.0f} → {self.rss[1]:.0f}", f"{self.fds[0]} → {self.fds[1]}"]
        return [self.name, self.note, *both, *held, f"{100 * self.cpu:.0f} %", verdict]


def stressed(scenario: Scenario, seconds: float, quiet_s: float) -> Row:
    with tempfile.TemporaryDirectory(prefix="cellsegd-stress-") as name:
        folder = Path(name)
        log = open("/dev/full", "w") if scenario.full_disk else None
        daemon = Watched(folder, scenario.settings, log, **scenario.environment(folder))
        try:
            row = measured(scenario, daemon, seconds, quiet_s)
            daemon.stop()
        except BaseException:
            print(daemon.log.read_text()[-2000:] if daemon.log.exists() else "", file=sys.stderr)
            daemon.kill()
            raise
    return row


def measured(scenario: Scenario, daemon: Watched, seconds: float, quiet_s: float) -> Row:
    time.sleep(1)
    marks = [time.monotonic()]
    time.sleep(quiet_s)
    marks.append(time.monotonic())
    rss, fds, cpu = daemon.rss_mib(), daemon.fds(), daemon.cpu_s()
    note = scenario.run(daemon, seconds)
    marks.append(time.monotonic())
    cpu = (daemon.cpu_s() - cpu) / (marks[2] - marks[1])
    until = time.monotonic() + scenario.recovery_s
    while daemon.fds() > fds and time.monotonic() < until:
        time.sleep(0.2)
    marks.append(time.monotonic())
    time.sleep(quiet_s)
    marks.append(time.monotonic())
    spans = {"quiet": marks[0:2], "during": marks[1:3], "after": marks[3:5]}
    latency = {}
    for phase, (start, end) in spans.items():
        values = daemon.latencies_ms(start, end)
        latency[phase] = (percentile(values, 0.5), percentile(values, 0.99))
    after = daemon.rss_mib(), daemon.fds()
    failures = []
    bound = FACTOR * latency["quiet"][0]
    for phase in ("during", "after") if scenario.bounded else ("after",):
        if latency[phase][0] > bound:
            failures.append(f"{phase}: {latency[phase][0]:.1f} ms, more than {bound:.1f}")
    if after[1] > fds:
        failures.append(f"{after[1] - fds} files more than before")
    if after[0] > rss + RSS_GROWTH_MIB:
        failures.append(f"{after[0] - rss:.0f} MiB more than before")
    daemon.segment_one()
    return Row(scenario.name, note, latency, (rss, after[0]), (fds, after[1]), cpu, failures)


def table(rows: list[Row], seconds: float) -> str:
    head = ["what is done", "how much", "quiet", "during", "after", "MiB", "files", "CPU", "held"]
    lines = [head, ["---"] * len(head), *(row.cells() for row in rows)]
    machine = f"{os.cpu_count()} cores, {platform.machine()}, load {os.getloadavg()[0]:.1f}"
    text = (
        f"Good session: 256 x 256 frames every 50 ms, a lane that takes {MS_PER_FRAME} ms; latencies in ms, p50 / p99; "
        f"{seconds:.0f} s each; {machine}.\n\n"
    )
    return text + "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def write(report: Path, name: str, text: str):
    """Between the marks of this name, which stay."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = report.read_text().split(begin)
    _, after = rest.split(end)
    report.write_text(f"{before}{begin}\n\n{text}\n{end}{after}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20, help="of each scenario [20]")
    parser.add_argument("--sessions-seconds", type=float, help="of the 64 sessions [as --seconds]")
    parser.add_argument("--quiet-seconds", type=float, default=5, help="before and after each [5]")
    parser.add_argument("--only", default="", help="scenarios whose name has this in it")
    parser.add_argument("--camera", action="store_true", help="only the pace of a camera beside busy lanes")
    parser.add_argument("--report", type=Path, help="a Markdown file with the marks, rewritten")
    asked = parser.parse_args()
    if asked.camera:
        with tempfile.TemporaryDirectory(prefix="cellsegd-camera-") as folder:
            text = camera.table(Path(folder), asked.seconds)
        print(text)
        if asked.report:
            write(ROOT / asked.report, "camera", text)
        return
    rows = []
    for scenario in SCENARIOS:
        if asked.only not in scenario.name:
            continue
        seconds = asked.sessions_seconds if scenario is SCENARIOS[0] and asked.sessions_seconds else asked.seconds
        row = stressed(scenario, seconds, asked.quiet_seconds)
        print(" | ".join(row.cells()), flush=True)
        rows.append(row)
    assert rows, f"no scenario has {asked.only!r} in its name"
    if asked.report:
        write(ROOT / asked.report, "stress", table(rows, asked.seconds))
    failed = [row.name for row in rows if row.failures]
    if failed:
        sys.exit(f"did not hold: {', '.join(failed)}")


if __name__ == "__main__":
    main()
