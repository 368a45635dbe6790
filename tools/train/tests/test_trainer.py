"""A run can be stopped, go on, and learns."""

import json
import os
import signal
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from cellnet import trainer
from cellnet.crops import Mix
from cellnet.network import SHAPES
from cellnet.pack import Entry, Sample

MIX = Mix(side=64, seed=5, nothing=0.0)
PLAN = trainer.Plan(batch=2, warm_up=5)


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """Bright discs, of both classes."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(4):
        labels = np.zeros((120, 120), np.uint16)
        for label in range(1, 8):
            cv2.circle(labels, rng.integers(10, 110, 2).tolist(), int(rng.integers(6, 12)), label, -1)
        image = np.where(labels > 0, 220, 40).astype(np.uint8)
        entry = Entry(f"{i}", "made", i % 2, None, 0.1, 0.9, f"{i}")
        made.append(Sample(entry, image, labels, np.bincount(labels.ravel())))
    return made


def sitting(out: Path, **values) -> trainer.Sitting:
    return trainer.Sitting(out, **{"minutes": 30, "workers": 0, **values})


def weights_of(state: trainer.State) -> list[torch.Tensor]:
    return [*state.network.state_dict().values(), *state.average.state_dict().values()]


def test_a_run_that_was_stopped_ends_as_one_that_was_not(samples, tmp_path):
    whole = trainer.run(trainer.fresh(SHAPES["nano"], PLAN, MIX), samples, sitting(tmp_path / "a", steps=6))
    trainer.run(trainer.fresh(SHAPES["nano"], PLAN, MIX), samples, sitting(tmp_path / "b", steps=3))
    again = trainer.run(trainer.load(tmp_path / "b/last.pt"), samples, sitting(tmp_path / "b", steps=6, workers=1))
    assert whole.step == again.step == 6
    assert all(torch.equal(one, other) for one, other in zip(weights_of(whole), weights_of(again)))


def test_what_asks_it_to_stop_loses_nothing(samples, tmp_path):
    threading.Timer(3, os.kill, (os.getpid(), signal.SIGTERM)).start()
    state = trainer.run(trainer.fresh(SHAPES["nano"], PLAN, MIX), samples, sitting(tmp_path))
    assert state.step > 0
    assert trainer.load(tmp_path / "last.pt").step == state.step
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".jsonl") == ["last.pt"]


def test_the_loss_falls_and_the_tail_ends_a_run(samples, tmp_path):
    state = trainer.run(trainer.fresh(SHAPES["nano"], PLAN, MIX), samples, sitting(tmp_path, steps=40, log_steps=20))
    state = trainer.run(state, samples, sitting(tmp_path, decay=20, log_steps=20))
    first, *_, last = (json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines())
    assert last["total"] < 0.8 * first["total"]
    assert last["rate"] < 0.06 * first["rate"]
    assert state.step == 60 and (tmp_path / "decayed.pt").exists()


def test_another_batch_goes_on_behind_the_crops_that_were_seen(samples, tmp_path):
    trainer.run(trainer.fresh(SHAPES["nano"], PLAN, MIX), samples, sitting(tmp_path, steps=6))
    state = trainer.load(tmp_path / "last.pt", batch=4, rate=1e-3)
    assert (state.step, state.plan.batch, state.plan.rate) == (3, 4, 1e-3)
