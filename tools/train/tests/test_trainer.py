"""A run can be stopped, go on, and learns."""

import hashlib
import json
import multiprocessing
import os
import signal
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from cellnet import commands, trainer
from cellnet.crops import Mix
from cellnet.export import export
from cellnet.loss import Weights
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
        entry = Entry(f"{i}", "made", i % 2, 0.1, 0.9, f"{i}")
        made.append(Sample(entry, image, labels, np.bincount(labels.ravel())))
    return made


def sitting(out: Path, **values) -> trainer.Sitting:
    return trainer.Sitting(out, **{"minutes": 30, "workers": 0, **values})


def weights_of(state: trainer.State) -> list[torch.Tensor]:
    return [*state.network.state_dict().values(), *state.average.state_dict().values()]


def stopping(at: int, follow=trainer.follow):
    """What asks the run to stop when it follows the network in step `at`."""

    def follow_and_stop(average, network, keep, step):
        follow(average, network, keep, step)
        if step == at:
            # As where a whole group of processes is asked to stop.
            for child in multiprocessing.active_children():
                os.kill(child.pid, signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)

    return follow_and_stop


def test_a_run_that_was_stopped_ends_as_one_that_was_not(samples, tmp_path):
    whole = trainer.run(trainer.fresh(SHAPES["nano"], PLAN, MIX), samples, sitting(tmp_path / "a", steps=6))
    trainer.run(trainer.fresh(SHAPES["nano"], PLAN, MIX), samples, sitting(tmp_path / "b", steps=3))
    again = trainer.run(trainer.load(tmp_path / "b/last.pt"), samples, sitting(tmp_path / "b", steps=6, workers=1))
    assert whole.step == again.step == 6
    assert all(torch.equal(one, other) for one, other in zip(weights_of(whole), weights_of(again), strict=True))


@pytest.mark.parametrize("workers", [0, 1])
def test_what_asks_it_to_stop_loses_nothing(samples, tmp_path, monkeypatch, workers):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(trainer, "follow", stopping(3))
    state = trainer.run(trainer.fresh(SHAPES["nano"], PLAN, MIX), samples, sitting(tmp_path, workers=workers))
    assert state.step == 3 and signal.getsignal(signal.SIGTERM) is before
    assert trainer.load(tmp_path / "last.pt").step == state.step
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".jsonl") == ["last.pt"]


def test_the_loss_falls_and_the_tail_ends_a_run(samples, tmp_path):
    state = trainer.run(trainer.fresh(SHAPES["nano"], PLAN, MIX), samples, sitting(tmp_path, steps=40, log_steps=20))
    state.tail = trainer.Tail(40, 20)
    state = trainer.run(state, samples, sitting(tmp_path / "tail", log_steps=20))
    (first, *_), (last,) = (
        [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()] for folder in (tmp_path, tmp_path / "tail")
    )
    assert last["total"] < 0.8 * first["total"]
    assert last["rate"] < 0.06 * first["rate"]
    assert state.step == 60 and (tmp_path / "tail/decayed.pt").exists()


def test_a_tail_that_was_stopped_ends_as_one_that_was_not(samples, tmp_path):
    ends = []
    for name, stops in (("whole", ()), ("halved", (3,))):
        state = trainer.fresh(SHAPES["nano"], PLAN, MIX)
        state.tail = trainer.Tail(0, 6)
        for stop in stops:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(trainer, "follow", stopping(stop))
                trainer.run(state, samples, sitting(tmp_path / name))
            state = trainer.load(tmp_path / name / "last.pt")
            assert (state.step, state.tail) == (3, trainer.Tail(0, 6))
        ends.append(trainer.run(state, samples, sitting(tmp_path / name)))
    assert all(torch.equal(one, other) for one, other in zip(*map(weights_of, ends), strict=True))


def test_a_short_tail_averages_over_its_end():
    assert trainer.Tail(0, 1000).average(PLAN) == pytest.approx(0.99)
    assert trainer.Tail(0, 10**6).average(PLAN) == PLAN.average
    assert [round(trainer.Tail(100, 400).rate(step), 3) for step in (100, 200, 500)] == [1.0, 0.5, 0.0]


def test_another_batch_goes_on_behind_the_crops_that_were_seen(samples, tmp_path):
    trainer.run(trainer.fresh(SHAPES["nano"], PLAN, MIX), samples, sitting(tmp_path, steps=6))
    state = trainer.load(tmp_path / "last.pt", batch=4, rate=1e-3)
    assert (state.step, state.plan.batch, state.plan.rate) == (3, 4, 1e-3)


def test_gradients_that_are_not_finite_change_nothing_and_end_a_run(samples, tmp_path, monkeypatch):
    state = trainer.run(trainer.fresh(SHAPES["nano"], PLAN, MIX), samples, sitting(tmp_path, steps=2))
    before = [weight.clone() for weight in state.network.parameters()]
    lost = lambda parts, weights: sum(vars(parts).values()) * float("nan")  # noqa: E731
    with monkeypatch.context() as broken:
        broken.setattr(trainer.Losses, "total", lost)
        with pytest.raises(FloatingPointError, match="5 steps in a row"):
            trainer.run(state, samples, sitting(tmp_path))
    assert all(torch.equal(one, other) for one, other in zip(before, state.network.parameters(), strict=True))
    assert trainer.load(tmp_path / "last.pt").step == 2
    next(state.average.parameters()).data[0] = float("inf")
    with pytest.raises(FloatingPointError, match="step 7"):
        trainer.save(state, tmp_path / "last.pt")
    assert trainer.load(tmp_path / "last.pt").step == 2


def test_checkpoints_of_some_steps_stay(samples, tmp_path):
    trainer.run(trainer.fresh(SHAPES["nano"], PLAN, MIX), samples, sitting(tmp_path, steps=5, keep_steps=2))
    assert sorted(path.name for path in tmp_path.glob("*.pt")) == ["last.pt", "step_00002.pt", "step_00004.pt"]
    assert trainer.load(tmp_path / "step_00004.pt").step == 4


def test_a_checkpoint_keeps_what_losses_counted(samples, tmp_path):
    state = trainer.fresh(SHAPES["nano"], PLAN, MIX)
    state.weights = Weights(box=7.0)
    trainer.save(state, tmp_path / "last.pt")
    assert trainer.load(tmp_path / "last.pt").weights == Weights(box=7.0)
    values = torch.load(tmp_path / "last.pt", weights_only=True)
    del values["weights"]
    values["mix"]["forgotten"] = 1
    torch.save(values, tmp_path / "older.pt")
    older = trainer.load(tmp_path / "older.pt")
    assert older.weights == Weights() and older.mix == MIX


@pytest.mark.parametrize("asked", [("--fold", "1/3"), ("--shape", "wide"), ("--seed", "6"), ("--input", "320")])
def test_a_checkpoint_is_not_what_it_was_not_begun_with(tmp_path, monkeypatch, asked):
    trainer.save(trainer.fresh(SHAPES["nano"], PLAN, MIX, "0/3"), tmp_path / "last.pt")
    had = {"--fold": "0/3", "--shape": "nano", "--seed": "5", "--input": "640"}[asked[0]]
    monkeypatch.setattr("sys.argv", ["train", "fit", "data.zip", str(tmp_path), *asked])
    with pytest.raises(SystemExit, match=f"{asked[0]} {asked[1]}: .*last.pt was begun with {asked[0][2:]} {had}"):
        commands.main()


def test_a_tail_has_a_folder_of_its_own_and_is_gone_on_with(samples, tmp_path, monkeypatch):
    monkeypatch.setattr("cellnet.pack.load", lambda path: samples)
    run, tail = tmp_path / "run", tmp_path / "tail"
    trainer.run(trainer.fresh(SHAPES["nano"], PLAN, MIX), samples, sitting(run, steps=2))

    def fit(*args):
        monkeypatch.setattr("sys.argv", ["train", "fit", "data.zip", *map(str, args), "--workers", "0"])
        commands.main()

    with pytest.raises(SystemExit, match="another folder"):
        fit(run, "--decay", 4)
    with pytest.raises(SystemExit) as both:
        fit(tail, "--decay", 4, "--steps", 9)
    assert both.value.code == 2
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "follow", stopping(4))
        fit(tail, "--from", run / "last.pt", "--decay", 4)
    with pytest.raises(SystemExit, match="in a tail of 4 steps"):
        fit(tail, "--from", run / "last.pt", "--decay", 5)
    fit(tail, "--from", run / "last.pt", "--decay", 4)
    assert trainer.load(tail / "decayed.pt").step == 6
    assert trainer.load(run / "last.pt").step == 2
    assert not (tail / "last.pt").exists(), "it would be taken for a tail that goes on"
    with pytest.raises(SystemExit, match="its tail is over"):
        fit(tmp_path / "other", "--from", tail / "decayed.pt")


def test_a_tail_is_gone_on_with_as_it_was_begun(samples, tmp_path, monkeypatch):
    monkeypatch.setattr("cellnet.pack.load", lambda path: samples)
    state = trainer.fresh(SHAPES["nano"], PLAN, MIX)
    trainer.save(state, tmp_path / "later.pt")
    state.tail, state.step = trainer.Tail(3, 4), 5
    trainer.save(state, tmp_path / "last.pt")
    for asked, message in (
        (("--batch", "4"), "batch 4, but it is in a tail of 4 steps of 2 crops"),
        (("--steps", "9"), "in its tail, which ends at 7"),
        (("--decay", "4", "--from", str(tmp_path / "later.pt")), "in a tail from step 3 on"),
    ):
        monkeypatch.setattr("sys.argv", ["train", "fit", "data.zip", str(tmp_path), *asked])
        with pytest.raises(SystemExit, match=message):
            commands.main()


@pytest.mark.parametrize(
    "asked",
    [("--decay", "-1"), ("--decay", "0"), ("--steps", "-1"), ("--batch", "0"), ("--input", "300")],
)
def test_numbers_that_mean_nothing_are_refused(tmp_path, monkeypatch, capsys, asked):
    monkeypatch.setattr("sys.argv", ["train", "fit", "data.zip", str(tmp_path), *asked])
    with pytest.raises(SystemExit) as refused:
        commands.main()
    assert refused.value.code == 2
    assert f"argument {asked[0]}: {asked[1]}: wanted" in capsys.readouterr().err


def test_a_checkpoint_that_is_cut_off_is_named(tmp_path, monkeypatch):
    trainer.save(trainer.fresh(SHAPES["nano"], PLAN, MIX), tmp_path / "last.pt")
    (tmp_path / "last.pt").write_bytes((tmp_path / "last.pt").read_bytes()[:20_000])
    monkeypatch.setattr("sys.argv", ["train", "fit", "data.zip", str(tmp_path)])
    with pytest.raises(SystemExit, match="last.pt: no checkpoint, or one that is cut off"):
        commands.main()


def test_a_run_begins_with_a_model_and_is_gone_on_with(samples, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("cellnet.pack.load", lambda path: samples)
    model, out = tmp_path / "model.onnx", tmp_path / "run"
    state = trainer.run(trainer.fresh(SHAPES["nano"], PLAN, MIX), samples, sitting(tmp_path, steps=2))
    export(state.network, model, None)

    def fit(*args):
        command = ["train", "fit", "data.zip", out, "--from", model, "--batch", 2, "--workers", 0, *args]
        monkeypatch.setattr("sys.argv", [*map(str, command)])
        commands.main()

    for *asked, why in (("--decay", 4, "trained on"), ("--shape", "nano", "of its own"), ("--fold", "0/2", "may have seen")):
        with pytest.raises(SystemExit, match=f"{asked[0]} {asked[1]}: .*model.onnx .*{why}"):
            fit(*asked)
    monkeypatch.setattr("cellnet.crops.Mix", partial(Mix, side=MIX.side, nothing=MIX.nothing))
    fit("--steps", 5)
    fit("--steps", 10)
    told = capsys.readouterr().out
    assert f"begins with {model}" in told and f"goes on from {out / 'last.pt'}: step 5" in told
    state = trainer.load(out / "last.pt")
    assert (state.step, state.began_with) == (10, hashlib.sha256(model.read_bytes()).hexdigest())
    export(state.network, tmp_path / "other.onnx", None)
    with pytest.raises(SystemExit, match="last.pt: is of a run that did not begin with .*other.onnx"):
        fit("--from", tmp_path / "other.onnx")
