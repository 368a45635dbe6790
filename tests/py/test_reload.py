"""Models that are exchanged while the daemon runs: by SIGHUP, by `cellsegd reload`, signed and not."""

import math
import shutil
import signal
import subprocess
import threading
import time

import pytest
from client import Session, raw, tiny_options
from conftest import skip
from contract import pb
from daemon import BUNDLED_MODEL, Daemon, run
from frames import discs

PATIENCE_S = 300
AT_LEAST = 20
"""Frames that each client is answered before each reload and after the last one."""
CONFIDENCE = {"1": 0.1, "2": 0.2, "3": 0.3}


def put(folder, version, model, **lines):
    """A model called "cells": the file first, so that a daemon that looks meanwhile finds either whole."""
    keys = {"name": "cells", "version": version} | lines
    text = "".join(f'{key} = "{value}"\n' for key, value in keys.items())
    text += f"[thresholds]\nconfidence = {CONFIDENCE[version]}\n"
    shutil.copyfile(model, folder / "new")
    (folder / "new").rename(folder / "cells.onnx")
    (folder / "new").write_text(text)
    (folder / "new").rename(folder / "cells.toml")


@pytest.fixture
def folder(tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    return models


@pytest.fixture
def served(tmp_path, folder, tiny_model):
    """A daemon over the folder, and how to let it read again; its default is "cells"."""
    put(folder, "1", tiny_model)
    shutil.copyfile(tiny_model, folder / "another.onnx")
    settings = f'models_dir = "{folder}"\ndefault_model = "cells"\n[engine]\nkind = "rten"\n'
    with Daemon(tmp_path / "d", settings, unix=True) as daemon:
        yield daemon


def reload(daemon, expect=0):
    return run("reload", "--server", f"unix://{daemon.socket}", expect=expect).stdout


class Client(threading.Thread):
    """Sends frames and takes answers; each answer must be by the model that was announced for its revision."""

    def __init__(self, daemon, follow):
        super().__init__(daemon=True)
        self.session = Session(daemon, model="cells", follow_reload=follow, window=4, timeout_s=PATIENCE_S)
        self.revisions = {1: self.session.opened.model.version}
        self.sent = 0
        self.answered = []
        self.most = math.inf
        self.failure = None

    def enough(self):
        """Ends with the frames sent so far and some more."""
        self.most = self.sent + AT_LEAST

    def answers_more(self):
        """Waits for so many answers more."""
        wanted, until = len(self.answered) + AT_LEAST, time.monotonic() + PATIENCE_S
        while len(self.answered) < wanted:
            assert self.failure is None, self.failure
            assert time.monotonic() < until, f"{len(self.answered)} answers, wanted {wanted}"
            time.sleep(0.02)

    def run(self):
        try:
            self.drive()
        except Exception as failure:
            self.failure = failure

    def drive(self):
        frame = discs(64, 64)
        while len(self.answered) < self.most:
            while self.sent < self.most and self.sent - len(self.answered) < 4:
                self.session.send_frame(raw(frame, id=self.sent))
                self.sent += 1
            reply = next(self.session.call)
            if reply.WhichOneof("reply") == "changed":
                changed = reply.changed
                assert changed.revision == max(self.revisions) + 1
                assert changed.settled.thresholds.confidence == pytest.approx(CONFIDENCE[changed.model.version])
                self.revisions[changed.revision] = changed.model.version
            else:
                assert reply.frame.WhichOneof("outcome") == "segmentation", reply
                assert reply.frame.id == len(self.answered)
                assert reply.frame.revision == max(self.revisions)
                self.answered.append(reply.frame.revision)
            time.sleep(0.003)


@pytest.mark.parametrize("by", ["command", "signal"])
@pytest.mark.parametrize("mode", ["beside", "replace"])
def test_under_load_no_frame_is_lost_and_revisions_are_in_order(served, folder, tiny_model, by, mode):
    config = served.log.with_name("cellsegd.toml")
    config.write_text(f'reload = "{mode}"\n' + config.read_text())
    clients = [Client(served, follow=i % 2 == 0) for i in range(4)]
    for client in clients:
        client.start()
    try:
        for version in ("2", "3"):
            for client in clients:
                client.answers_more()
            put(folder, version, tiny_model)
            if by == "signal":
                before = served.log.read_text().count("reloaded")
                served.process.send_signal(signal.SIGHUP)
                until = time.monotonic() + PATIENCE_S
                while served.log.read_text().count("reloaded") == before:
                    assert time.monotonic() < until, served.log.read_text()
                    time.sleep(0.02)
            else:
                assert "cells: loaded" in reload(served)
    finally:
        for client in clients:
            client.enough()
    for client in clients:
        client.join(PATIENCE_S)
        assert client.failure is None, client.failure
        assert len(client.answered) == client.most
    for i, client in enumerate(clients):
        moves = mode == "replace" or i % 2 == 0
        assert list(client.revisions.values()) == (["1", "2", "3"] if moves else ["1"])
        assert set(client.answered) == set(client.revisions), "of each model there are answers"


def test_every_model_is_told_and_what_is_refused_keeps_serving(served, folder, tiny_model):
    config = served.log.with_name("cellsegd.toml")
    assert sorted(reload(served).splitlines()) == ["another: unchanged", "cells: unchanged"]
    put(folder, "2", tiny_model, sha256="0" * 64)
    (folder / "another.onnx").rename(folder / "renamed.onnx")
    config.write_text("lanes = 2\n" + config.read_text())
    said = reload(served, expect=1)
    assert "cells: refused: model" in said and "sha256 is" in said, said
    assert "renamed: loaded" in said and "another: removed" in said, said
    assert "at the next start only: lanes" in said, said
    with Session(served, tiny_options(model="")) as session:
        assert session.opened.model.version == "1", "the old one is the default as before"
        session.segment(raw(discs(64, 64)))
    config.write_text("lanes = 0\n")
    refused = run("reload", "--server", f"unix://{served.socket}", expect=1)
    assert "no model was reloaded" in refused.stderr and "lanes = 0" in refused.stderr, refused.stderr


def test_a_manifest_that_broke_keeps_its_model_under_its_name(served, folder, tiny_model):
    (folder / "cells.onnx").rename(folder / "file.onnx")
    (folder / "cells.toml").rename(folder / "file.toml")
    assert "cells: unchanged" in reload(served)
    whole = (folder / "file.toml").read_text()
    (folder / "file.toml").write_text(whole + "name = \n")
    said = reload(served, expect=1)
    assert "cells: refused: manifest" in said and "file.toml" in said and "removed" not in said, said
    with Session(served, tiny_options(model="cells")) as session:
        session.segment(raw(discs(64, 64)))
    (folder / "file.toml").write_text(whole)
    assert "cells: unchanged" in reload(served)


def test_only_models_that_were_signed_are_served(tmp_path, folder, tiny_model):
    if not shutil.which("minisign"):
        skip("no minisign: Debian's package of that name has it")
    keys = ["-s", tmp_path / "k.key", "-p", tmp_path / "k.pub"]
    subprocess.run(["minisign", "-G", "-W", *keys], check=True, capture_output=True)
    key = (tmp_path / "k.pub").read_text().splitlines()[1]

    def sign(*how):
        command = ["minisign", "-S", *how, "-s", tmp_path / "k.key", "-m", folder / "cells.onnx"]
        subprocess.run(command, check=True, capture_output=True)

    put(folder, "1", tiny_model)
    settings = (
        f'models_dir = "{folder}"\n[engine]\nkind = "rten"\n[trust]\nkeys = ["{key}"]\nrequire_signature = true\n'
    )
    config = tmp_path / "cellsegd.toml"
    config.write_text(settings)
    refused = run("serve", "--check", "--config", config, expect=78)
    assert "cells.onnx.minisig is missing" in refused.stderr, refused.stderr
    for how in ([], ["-l"]):
        sign(*how)
        run("serve", "--check", "--config", config)
    with Daemon(tmp_path / "d", settings, unix=True) as daemon:
        put(folder, "2", BUNDLED_MODEL)
        assert "changed after it was signed" in reload(daemon, expect=1)
        sign()
        assert "cells: loaded" in reload(daemon)


def test_a_folder_with_a_model_that_cannot_be_used_is_named_at_the_start(tmp_path, folder, tiny_model):
    put(folder, "1", tiny_model)
    (folder / "bad.onnx").write_bytes(b"\x08no model")
    config = tmp_path / "cellsegd.toml"
    config.write_text(f'models_dir = "{folder}"\n')
    refused = run("serve", "--config", config, expect=78)
    assert "bad.onnx" in refused.stderr, refused.stderr
    listed = run("models", "--config", config, expect=78).stdout
    assert "cannot be used" in listed and "ready" in listed, listed
    for line, words in (
        ('default_model = "none"', "there are: bad, cells"),
        ('models_dir = "/absent"', "/absent"),
        ('[trust]\nkeys = ["x"]', "trust.keys"),
    ):
        config.write_text(line + "\n" + (f'models_dir = "{folder}"\n' if "default" in line else ""))
        refused = run("serve", "--config", config, expect=78)
        assert words in refused.stderr, refused.stderr
