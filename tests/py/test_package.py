"""What the Debian package brings beside the program: manual, completions, maintainer scripts, and how ONNX Runtime gets there.

The package itself is made and tried by tools/package and tools/try-package.
"""

import os
import platform
import re
import shutil
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest
from contract import ROOT
from daemon import BIN, TARGET, environment

PAGES = TARGET / "debug/examples/pages"
MACHINES = {"x86_64": 62, "aarch64": 183}


def lacks(what: str):
    if os.environ.get("CELLSEGD_REQUIRE_ALL") == "1":
        pytest.fail(f"CELLSEGD_REQUIRE_ALL=1, and there is no {what}")
    pytest.skip(f"there is no {what}")


def tool(name: str) -> str:
    return shutil.which(name) or lacks(name)


@pytest.fixture(scope="session")
def pages(tmp_path_factory):
    if not PAGES.exists():
        lacks(f"{PAGES}: cargo build --examples")
    folder = tmp_path_factory.mktemp("pages")
    subprocess.run([PAGES, folder, "2026-01-31"], check=True, timeout=60)
    return folder


def test_the_package_has_every_proto():
    packed = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["metadata"]["deb"]["assets"]
    places = {f"{into}{Path(file).name}" for file, into, _ in packed}
    for proto in (ROOT / "proto").rglob("*.proto"):
        assert f"usr/share/cellsegd/{proto.relative_to(ROOT)}" in places


def commands(*words: str) -> list[str]:
    """Every command below, as a person finds them: by --help."""
    text = subprocess.run([BIN, *words, "--help"], env=environment(), capture_output=True, text=True, timeout=60, check=True).stdout
    below = re.search(r"^Commands:\n((?:  .*\n)+)", text, re.MULTILINE)
    names = re.findall(r"^  (\S+)", below[1], re.MULTILINE) if below else []
    inner = [" ".join([*words, name]) for name in names if name != "help"]
    return inner + [deeper for each in inner for deeper in commands(*each.split())]


def test_every_command_has_its_page(pages):
    expected = {"cellsegd.1", *(f"cellsegd-{name.replace(' ', '-')}.1" for name in commands())}
    assert {page.name for page in (pages / "man").iterdir()} == expected
    assert "cellsegd-serve.1" in expected


def test_man_shows_every_page_without_a_warning(pages):
    man = tool("man")
    for page in (pages / "man").iterdir():
        shown = subprocess.run([man, "--warnings", "-l", page], capture_output=True, text=True, timeout=60, env=environment(MANWIDTH="100"))
        assert (shown.returncode, shown.stderr) == (0, ""), page.name
        assert "NAME" in shown.stdout and "2026-01-31" in shown.stdout, shown.stdout


def test_mandoc_finds_nothing_wrong_with_the_pages(pages):
    mandoc = tool("mandoc")
    linted = subprocess.run([mandoc, "-T", "lint", *(pages / "man").iterdir()], capture_output=True, text=True, timeout=60)
    worse_than_style = [line for line in linted.stdout.splitlines() if "STYLE:" not in line]
    assert worse_than_style == []


def test_bash_completes_commands_and_flags(pages):
    asked = f"""
        source {pages}/bash/cellsegd.bash
        COMP_WORDS=(cellsegd ser); COMP_CWORD=1; _cellsegd cellsegd ser cellsegd; echo "${{COMPREPLY[*]}}"
        COMP_WORDS=(cellsegd segment --ou); COMP_CWORD=2; _cellsegd cellsegd --ou segment; echo "${{COMPREPLY[*]}}"
    """
    done = subprocess.run([tool("bash"), "--norc", "-c", asked], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["serve", "--out"], done.stderr


def test_zsh_and_fish_accept_their_completions(pages):
    for shell, file in (("zsh", "zsh/_cellsegd"), ("fish", "fish/cellsegd.fish")):
        if shutil.which(shell):
            subprocess.run([shell, "-n", pages / file], check=True, timeout=60)
        assert "serve" in (pages / file).read_text()


def test_everything_that_the_package_takes_is_there():
    """But for what tools/package makes first. A glob that matches nothing would end it after the long build."""
    deb = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["metadata"]["deb"]
    sources = [source for source, *_ in deb["assets"] if not source.startswith("target/")]
    assert len(sources) > 10
    assert [source for source in [*sources, *deb["license-file"][:1]] if not any(ROOT.glob(source))] == []
    units = {path.name for path in (ROOT / "systemd/usr/lib/systemd/system").iterdir()}
    assert {"cellsegd.service", "cellsegd.socket"} <= units


class Machine:
    """The commands that a maintainer script calls: stand-ins that write down how they were called."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.log = folder / "log"
        self.systemd = folder
        (folder / "bin").mkdir()
        for name in ("systemctl", "deb-systemd-helper", "deb-systemd-invoke", "systemd-sysusers", "systemd-tmpfiles", "install", "rm"):
            self.command(name)

    def command(self, name: str, then: str = "exit 0"):
        file = self.folder / "bin" / name
        file.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.log}\n{then}\n')
        file.chmod(0o755)

    def run(self, script: str, *arguments: str) -> tuple[str, str]:
        """What the script calls, and what it says. The folder that says whether systemd runs is one that is there."""
        text = (ROOT / "deploy/deb" / script).read_text().replace("/run/systemd/system", str(self.systemd))
        path = f"{self.folder}/bin:{os.environ['PATH']}"
        done = subprocess.run(["sh", "-c", text, script, *arguments], env={"PATH": path}, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        called = self.log.read_text() if self.log.exists() else ""
        return called, done.stdout + done.stderr


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_the_first_installation_enables_and_starts(machine):
    called, _ = machine.run("postinst", "configure", "")
    assert "systemd-sysusers cellsegd.conf" in called
    assert "install -d -o cellsegd -g cellsegd -m 750 /var/lib/cellsegd /var/lib/cellsegd/models" in called
    assert "install -d -o root -g cellsegd -m 750 /etc/cellsegd/tls" in called
    assert "deb-systemd-helper enable cellsegd.socket" in called and "deb-systemd-helper enable cellsegd.service" in called
    assert "deb-systemd-invoke start cellsegd.socket cellsegd.service" in called


def test_units_that_an_operator_disabled_stay_disabled(machine):
    machine.command("deb-systemd-helper", 'case "$*" in *was-enabled*) exit 1 ;; esac')
    called, _ = machine.run("postinst", "configure", "0.1.0-1")
    assert "deb-systemd-helper enable" not in called


def test_an_upgrade_restarts_an_idle_daemon(machine):
    machine.command("cellsegd", """echo '{ "version": "0.1.0",\n "sessions": [ ] }'""")
    called, said = machine.run("postinst", "configure", "0.1.0-1")
    assert "cellsegd status --json --server unix:///run/cellsegd/cellsegd.sock" in called
    assert "deb-systemd-invoke restart cellsegd.service" in called
    assert said == ""


@pytest.mark.parametrize(
    "status",
    [
        """echo '{ "sessions": [ { "name": "plate 7" } ] }'""",
        "exit 1",
        "echo nonsense",
    ],
    ids=["open sessions", "no answer", "not understood"],
)
def test_an_upgrade_never_restarts_a_daemon_that_may_have_sessions(machine, status):
    machine.command("cellsegd", status)
    called, said = machine.run("postinst", "configure", "0.1.0-1")
    assert "restart" not in called
    assert "run: systemctl restart cellsegd" in said


def test_an_upgrade_does_not_start_a_stopped_daemon(machine):
    machine.command("systemctl", 'case "$*" in is-active*) exit 3 ;; esac')
    called, said = machine.run("postinst", "configure", "0.1.0-1")
    assert "deb-systemd-invoke" not in called
    assert "systemctl start" in said


def test_an_upgrade_stops_nothing_and_removal_stops(machine):
    called, _ = machine.run("prerm", "upgrade", "0.1.0-2")
    assert called == ""
    called, _ = machine.run("prerm", "remove")
    assert "deb-systemd-invoke stop cellsegd.socket cellsegd.service" in called


def test_a_daemon_that_does_not_stop_does_not_keep_the_package_installed(machine):
    machine.command("deb-systemd-invoke", "exit 1")
    called, _ = machine.run("prerm", "remove")
    assert "deb-systemd-invoke stop" in called


def test_a_container_has_the_folders_too(machine):
    """systemd does not run in one."""
    machine.systemd = machine.folder / "missing"
    called, _ = machine.run("postinst", "configure", "")
    assert "install -d -o root -g cellsegd -m 750 /etc/cellsegd/tls" in called
    assert "systemctl" not in called


def test_removal_keeps_the_state_and_purge_takes_it(machine):
    called, _ = machine.run("postrm", "remove")
    assert "rm -rf /run/cellsegd" in called and "/etc" not in called and "/var" not in called
    called, _ = machine.run("postrm", "purge")
    assert "rm -rf /etc/cellsegd /var/lib/cellsegd /var/cache/cellsegd" in called


def wheel(folder: Path, machine: str | None) -> Path:
    """A wheel with a library of so many bytes as its check reads, or with none."""
    path = folder / "onnxruntime-9.8.7-cp312-cp312-linux.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("onnxruntime/__init__.py", "")
        if machine:
            header = b"\x7fELF" + bytes(14) + MACHINES[machine].to_bytes(2, "little")
            archive.writestr("onnxruntime/capi/libonnxruntime.so.9.8.7", header)
            archive.writestr("onnxruntime/capi/libonnxruntime_providers_shared.so", header)
    return path


def get_onnxruntime(wheel: Path, folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run([ROOT / "tools/get-onnxruntime", "--from", wheel, folder], capture_output=True, text=True, timeout=60)


def test_onnxruntime_comes_out_of_a_wheel_that_was_carried_here(tmp_path):
    done = get_onnxruntime(wheel(tmp_path, platform.machine()), tmp_path / "lib")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "lib").iterdir()] == ["libonnxruntime.so.9.8.7"]
    assert "9.8.7" in done.stdout


def test_a_wheel_that_does_not_do_is_named_and_nothing_is_written(tmp_path):
    other = next(name for name in MACHINES if name != platform.machine())
    (tmp_path / "text.whl").write_text("no zip")
    for path, words in (
        (wheel(tmp_path, other).rename(tmp_path / "other.whl"), [other, platform.machine()]),
        (wheel(tmp_path, None), ["libonnxruntime"]),
        (tmp_path / "text.whl", ["no wheel"]),
        (tmp_path / "missing.whl", ["No such file"]),
    ):
        done = get_onnxruntime(path, tmp_path / "lib")
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert all(word in done.stderr for word in [path.name, *words]), done.stderr
        assert not (tmp_path / "lib").exists()
