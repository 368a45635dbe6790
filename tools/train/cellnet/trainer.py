"""Trains for as long as it is let: warm-up, a constant rate, and a short decay whenever a model is wanted (Zhai et al., "Scaling
Vision Transformers", CVPR 2022; Hu et al., "MiniCPM", 2024). No total number of steps has to be known, and the moving average of
the weights is a usable model at any time.

A checkpoint holds everything: network, average, optimiser, step. Batch k is made of crops k*B .. k*B+B-1 of the seed, so a run
that was stopped goes on with the very crops it would have seen.
"""

import json
import os
import pickle
import signal
import time
from copy import deepcopy
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler

from cellnet.batch import batch_of
from cellnet.crops import Crops, Mix
from cellnet.loss import Losses, Weights, losses
from cellnet.network import Network, Shape
from cellnet.pack import Sample
from cellnet.restore import Stored, unfolded


@dataclass(frozen=True)
class Plan:
    """How to train; kept in the checkpoint."""

    batch: int = 8
    rate: float = 2e-3
    weight_decay: float = 0.03
    warm_up: int = 500
    average: float = 0.9995
    """Share of the moving average that is kept in a step."""
    clip: float = 10.0
    """Longest gradient."""


@dataclass(frozen=True)
class Tail:
    """The part of a run in which the rate falls to zero."""

    first: int
    """Its first step."""
    steps: int

    def rate(self, step: int) -> float:
        """As a share of the constant one: 1 - sqrt (Haegele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed
        Training Durations", NeurIPS 2024)."""
        return 1 - ((step - self.first) / self.steps) ** 0.5

    def average(self, plan: Plan) -> float:
        """The last weights are the best here: an average over the last tenth of them."""
        return min(plan.average, 1 - 10 / max(self.steps, 11))


TAIL_MIX = {"near": 0.75, "changed": 0.5}
"""A tail's crops are nearer to what the daemon will show."""

MEASURED_CROPS = 64
"""What a network from a file is shown before it goes on learning."""

MOST_SKIPPED = 5
"""So many steps in a row without finite gradients end a run; what it saved before stays."""


@dataclass
class State:
    """A run between two steps."""

    network: Network
    average: Network
    optimiser: torch.optim.Optimizer
    plan: Plan
    mix: Mix
    fold: str
    """Which fold was left out ("0/4"), or empty."""
    weights: Weights = Weights()
    tail: Tail | None = None
    step: int = 0
    seconds: float = 0.0
    """Spent training, over all sittings."""
    began_with: str = ""
    """sha256 of the ONNX file whose network it began with, or empty."""


@dataclass(frozen=True)
class Sitting:
    """What one call is asked for."""

    out: Path
    minutes: float
    """Wall-clock time after which it stops."""
    steps: int = 0
    """Training ends at this step; 0: not for that."""
    save_minutes: float = 5.0
    keep_steps: int = 2000
    """Every so many steps a checkpoint `step_NNNNN.pt` is written that nothing overwrites; 0: never."""
    workers: int = 1
    device: torch.device = torch.device("cpu")
    bfloat16: bool = False
    """Whether the network computes in bfloat16, losses and weights stay float32; always on a GPU. For processors that have
    instructions for it."""
    compiled: bool = False
    """Whether PyTorch compiles the network: a minute at the start, a fifth less for each step on a CPU."""
    log_steps: int = 100
    """A line of the log is the mean over so many steps."""


def fresh(shape: Shape, plan: Plan, mix: Mix, fold: str = "") -> State:
    """A run at step 0. The same seed gives the same weights."""
    torch.manual_seed(mix.seed)
    return _begun(Network(shape), plan, mix, fold)


def begun_with(model: Stored, samples: list[Sample], plan: Plan, mix: Mix) -> State:
    """A run at step 0 that begins with the network of an ONNX file of ours."""
    crops = Crops(samples, mix)
    batches = (batch_of([crops[i] for i in range(start, start + 8)]) for start in range(0, MEASURED_CROPS, 8))
    torch.manual_seed(mix.seed)
    network = unfolded(model.folded, (batch.images.expand(-1, 3, -1, -1) for batch in batches))
    return _begun(network, plan, mix, began_with=model.sha256)


def _begun(network: Network, plan: Plan, mix: Mix, fold: str = "", began_with: str = "") -> State:
    return State(network, deepcopy(network), optimiser_of(network, plan), plan, mix, fold, began_with=began_with)


def optimiser_of(network: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter, ICLR 2019); biases and normalisation do not decay."""
    heavy = [p for p in network.parameters() if p.ndim > 1]
    light = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": heavy, "weight_decay": plan.weight_decay}, {"params": light, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.99), fused=True)


def save(state: State, path: Path) -> None:
    """Whole or not at all, and never a network that is lost: FloatingPointError names the step."""
    for values in (state.network.state_dict(), state.average.state_dict()):
        if not all(bool(torch.isfinite(value).all()) for value in values.values()):
            raise FloatingPointError(f"step {state.step}: weights are not finite, {path} is left as it was")
    part = path.with_suffix(".part")
    values = {
        "shape": state.network.shape.to_dict(),
        "network": state.network.state_dict(),
        "average": state.average.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "plan": asdict(state.plan),
        "mix": asdict(state.mix),
        "fold": state.fold,
        "weights": asdict(state.weights),
        "tail": asdict(state.tail) if state.tail else None,
        "step": state.step,
        "seconds": state.seconds,
        "began_with": state.began_with,
    }
    with part.open("wb") as file:
        torch.save(values, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def load(path: Path, device: torch.device = torch.device("cpu"), batch: int | None = None, rate: float | None = None) -> State:
    """Goes on where `path` stopped; with another batch or rate if they are given, on another machine say."""
    try:
        values = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path}: no checkpoint, or one that is cut off") from error
    plan = known(Plan, values["plan"])
    # Crops are counted, not batches: another batch goes on behind the crops that were seen.
    step = values["step"]
    tail = Tail(**values["tail"]) if values.get("tail") else None
    if batch is not None and batch != plan.batch:
        if tail:
            raise ValueError(f"{path}: batch {batch}, but it is in a tail of {tail.steps} steps of {plan.batch} crops")
        step = step * plan.batch // batch
        plan = replace(plan, batch=batch)
    if rate is not None:
        plan = replace(plan, rate=rate)
    shape = Shape.from_dict(values["shape"])
    network, average = Network(shape).to(device), Network(shape).to(device)
    network.load_state_dict(values["network"])
    average.load_state_dict(values["average"])
    optimiser = optimiser_of(network, plan)
    optimiser.load_state_dict(values["optimiser"])
    mix, weights = known(Mix, values["mix"]), known(Weights, values.get("weights", {}))
    began_with = values.get("began_with", "")
    return State(network, average, optimiser, plan, mix, values["fold"], weights, tail, step, values["seconds"], began_with)


def known(kind: type, values: dict):
    """Settings of a checkpoint. What this trainer no longer has falls away, what it did not have then is as it is now."""
    return kind(**{field.name: values[field.name] for field in fields(kind) if field.name in values})


class From(Sampler):
    """Crop numbers from one on, without an end."""

    def __init__(self, first: int):
        self.first = first

    def __iter__(self):
        index = self.first
        while True:
            yield index
            index += 1


def run(state: State, samples: list[Sample], sitting: Sitting) -> State:
    """Trains until the sitting is over, or until it is asked to stop (SIGTERM, SIGINT): then it saves and returns. A run in its
    tail ends with the tail, in `decayed.pt`."""
    sitting.out.mkdir(parents=True, exist_ok=True)
    with _Stop() as stopped:
        ended = _steps(state, samples, sitting, stopped)
    if ended and state.tail:
        save(state, sitting.out / "decayed.pt")
        # It would be taken for a tail that goes on.
        (sitting.out / "last.pt").unlink(missing_ok=True)
    else:
        save(state, sitting.out / "last.pt")
    return state


def _steps(state: State, samples: list[Sample], sitting: Sitting, stopped: "_Stop") -> bool:
    """Whether the last step was reached."""
    began = saved = time.monotonic()
    device, plan, tail = sitting.device, state.plan, state.tail
    skipped = 0
    layout = torch.channels_last
    network = state.network.to(device, memory_format=layout).train()
    average = state.average.to(device, memory_format=layout).eval()
    forward = torch.compile(network) if sitting.compiled else network
    last_step = tail.first + tail.steps if tail else sitting.steps or None
    seconds_before = state.seconds
    seen = _Means()
    batches = iter(loader(state, samples, sitting))
    while last_step is None or state.step < last_step:
        if stopped or time.monotonic() - began >= sitting.minutes * 60:
            return False
        rate = plan.rate * min(1.0, (state.step + 1) / plan.warm_up) * (tail.rate(state.step) if tail else 1)
        for group in state.optimiser.param_groups:
            group["lr"] = rate
        batch = next(batches).to(device)
        images = batch.images.expand(-1, 3, -1, -1).contiguous(memory_format=layout)
        with torch.autocast(device.type, torch.bfloat16, enabled=sitting.bfloat16 or device.type == "cuda"):
            raw = forward(images)
        parts = losses(raw, batch, state.weights)
        total = parts.total(state.weights)
        state.optimiser.zero_grad(set_to_none=True)
        total.backward()
        length = nn.utils.clip_grad_norm_(network.parameters(), plan.clip)
        state.step += 1
        if torch.isfinite(length):
            skipped = 0
            state.optimiser.step()
            follow(average, network, tail.average(plan) if tail else plan.average, state.step)
            seen.add(parts, total)
        else:
            # The crops of this step are passed over.
            skipped += 1
            if skipped >= MOST_SKIPPED:
                raise FloatingPointError(f"step {state.step}: no finite gradient in {skipped} steps in a row")
        state.seconds = seconds_before + time.monotonic() - began
        if state.step % sitting.log_steps == 0:
            seen.write(state, rate, sitting.out / "log.jsonl")
        if sitting.keep_steps and state.step % sitting.keep_steps == 0:
            save(state, sitting.out / f"step_{state.step:05}.pt")
        if time.monotonic() - saved >= sitting.save_minutes * 60:
            save(state, sitting.out / "last.pt")
            saved = time.monotonic()
    return True


def loader(state: State, samples: list[Sample], sitting: Sitting) -> DataLoader:
    """Batches from the state's step on."""
    mix = replace(state.mix, **TAIL_MIX) if state.tail else state.mix
    return DataLoader(
        Crops(samples, mix),
        batch_size=state.plan.batch,
        sampler=From(state.step * state.plan.batch),
        collate_fn=batch_of,
        num_workers=sitting.workers,
        worker_init_fn=_go_on,
        prefetch_factor=4 if sitting.workers else None,
        pin_memory=sitting.device.type == "cuda",
    )


def _go_on(worker: int) -> None:
    """Who stops a whole group of processes does not stop the makers of crops: they end with the run, when it has saved."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


@torch.no_grad()
def follow(average: Network, network: Network, keep: float, step: int) -> None:
    """Moves the average a little towards the network; early on, when the network changes fast, by more."""
    keep = min(keep, (1 + step) / (10 + step))
    ours, theirs = average.state_dict(), network.state_dict()
    floats = [name for name, value in ours.items() if value.dtype.is_floating_point]
    torch._foreach_lerp_([ours[name] for name in floats], [theirs[name] for name in floats], 1 - keep)


class _Means:
    """Losses since the last line of the log."""

    def __init__(self):
        self.sums: dict[str, torch.Tensor] = {}
        self.n = 0
        self.began = time.monotonic()

    def add(self, parts: Losses, total: torch.Tensor) -> None:
        for name, value in [*vars(parts).items(), ("total", total)]:
            self.sums[name] = self.sums.get(name, 0) + value.detach()
        self.n += 1

    def write(self, state: State, rate: float, path: Path) -> None:
        if not self.n:
            return
        means = {name: round(float(value) / self.n, 4) for name, value in self.sums.items()}
        line = {"step": state.step, "hours": round(state.seconds / 3600, 3), "rate": rate, **means}
        line["s_per_step"] = round((time.monotonic() - self.began) / self.n, 3)
        with path.open("a") as log:
            log.write(json.dumps(line) + "\n")
        self.__init__()


class _Stop:
    """True once somebody asked to stop."""

    def __enter__(self) -> "_Stop":
        self.asked = False
        self.before = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _ask(self, *_):
        self.asked = True

    def __bool__(self) -> bool:
        return self.asked
