"""A network from an ONNX file that `cellnet.export` wrote, to go on training it: the bundled model learns somebody's own cells.

Normalisation was folded into the convolutions there. It is unfolded by what each convolution says of some crops, so that the network
says what the file says, in training as at rest.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import Tensor, nn

from cellnet.contract import SHAPE
from cellnet.network import Conv, Network, Shape, fused

FRESH_LENGTH = 3**-0.5
"""Of a filter before training (PyTorch draws it uniformly). Under normalisation its length means nothing, but the optimiser's steps
are made for such filters."""


@dataclass(frozen=True)
class Stored:
    """What an ONNX file of [`export`](cellnet.export) holds."""

    folded: Network
    """Its network, normalisation folded into the convolutions. The branch that only training has starts afresh."""
    side: int | None
    """Of the square input that it was exported for; None: any size, or not square."""
    sha256: str


def stored(path: Path) -> Stored:
    """Reads a file that `export` wrote, or its half-precision version; of anything else ValueError says what is wrong with it."""
    try:
        model = onnx.load(str(path)) if path.is_file() else None
    except DecodeError as error:
        raise ValueError(f"{path}: no ONNX file, or one that is cut off") from error
    if model is None or not model.graph.node:
        raise ValueError(f"{path}: no ONNX file")
    about = {prop.key: prop.value for prop in model.metadata_props}
    if SHAPE not in about:
        raise ValueError(f"{path}: training goes on only from what `python tools/train export` wrote")
    weights = weights_of(model)
    try:
        folded = fused(Network(Shape.from_dict(json.loads(about[SHAPE]))))
        missing, _ = folded.load_state_dict(weights, strict=False)
        height, width = json.loads(about.get("imgsz", "[0, 1]"))
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"{path}: its metadata are not of its network: {' '.join(str(error).split())[:200]}") from error
    missing = [name for name in missing if not name.startswith("dense.")]
    if missing:
        raise ValueError(f"{path}: holds no weight {missing[0]} of 16 or 32 bits; training goes on from the version that `export` wrote")
    broken = [name for name, value in weights.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise ValueError(f"{path}: {broken[0]} is not finite")
    return Stored(folded, height if height == width else None, hashlib.sha256(path.read_bytes()).hexdigest())


def weights_of(model: onnx.ModelProto) -> dict[str, Tensor]:
    """Of all convolutions, by their names in the folded network."""
    held = {plain(weight.name): weight for weight in model.graph.initializer}
    values = {}
    for node in model.graph.node:
        names = [plain(name) for name in node.input]
        if node.op_type == "Identity" and names[0] in held:
            # Equal weights are stored once.
            held[plain(node.output[0])] = held[names[0]]
        elif node.op_type == "Conv":
            unit = names[1].removeprefix("network.").removesuffix(".weight")
            for part, name in zip(("weight", "bias"), names[1:], strict=False):
                if name in held:
                    values[f"{unit}.{part}"] = torch.from_numpy(numpy_helper.to_array(held[name]).astype("float32"))
    return values


def plain(name: str) -> str:
    """Of a weight, whichever precision it is stored in."""
    return re.sub(r"(\.half|_float16|_float32)$", "", name)


@torch.no_grad()
def unfolded(folded: Network, crops: Iterable[Tensor]) -> Network:
    """The reverse of [`fused`](cellnet.network.fused): the same function, with normalisation of what it sees in `crops`, batches
    [B, 3, S, S] of what it is to learn."""
    network = Network(folded.shape)
    units = {name: unit for name, unit in network.named_modules() if isinstance(unit, Conv)}
    seen = {name: Seen() for name in units}
    hooks = [folded.get_submodule(name)[0].register_forward_hook(each.add) for name, each in seen.items()]
    for images in crops:
        folded(images)
    for hook in hooks:
        hook.remove()
    inside = {f"{name}.0" for name in units}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and name not in inside:
            module.load_state_dict(folded.get_submodule(name).state_dict())
    for name, unit in units.items():
        convolution, norm = unit[0], unit[1]
        known = folded.get_submodule(name)[0]
        mean, variance = seen[name].mean_and_variance()
        # Without its bias, and each filter as long as a fresh one.
        longer = FRESH_LENGTH / known.weight.flatten(1).norm(dim=1).clamp(min=1e-6)
        convolution.weight.copy_(known.weight * longer[:, None, None, None])
        norm.running_mean.copy_((mean - known.bias) * longer)
        norm.running_var.copy_(variance * longer**2)
        norm.weight.copy_((norm.running_var + norm.eps).sqrt() / longer)
        norm.bias.copy_(mean)
    return network


class Seen:
    """Mean and variance of each channel of what a convolution gave."""

    def __init__(self):
        self.n, self.sum, self.squares = 0, 0.0, 0.0

    def add(self, module: nn.Module, inputs: tuple, output: Tensor) -> None:
        values = output.double()
        self.n += values.numel() // values.shape[1]
        self.sum = self.sum + values.sum((0, 2, 3))
        self.squares = self.squares + values.square().sum((0, 2, 3))

    def mean_and_variance(self) -> tuple[Tensor, Tensor]:
        mean = self.sum / self.n
        return mean.float(), (self.squares / self.n - mean**2).clamp(min=0).float()
