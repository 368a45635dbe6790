"""A network from an ONNX file that `cellnet.export` wrote, to go on training it: the bundled model learns somebody's own cells.

Normalisation was folded into the convolutions there. It is unfolded by what each convolution says of some crops, so that the network
says what the file says, in training as at rest.
"""

import json
from collections.abc import Iterable
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


def restored(path: Path, crops: Iterable[Tensor]) -> Network:
    """The network of an ONNX file; normalisation is measured on `crops`, batches [B, 3, S, S] of what it is to learn. The branch
    that only training has starts afresh. A file of anything else than [`export`](cellnet.export) is a ValueError."""
    try:
        model = onnx.load(str(path))
    except DecodeError as error:
        raise ValueError(f"{path}: no ONNX file, or one that is cut off") from error
    about = {prop.key: prop.value for prop in model.metadata_props}
    if SHAPE not in about:
        raise ValueError(f"{path}: training goes on only from what `python tools/train export` wrote")
    folded = fused(Network(Shape.from_dict(json.loads(about[SHAPE]))))
    missing, _ = folded.load_state_dict(weights_of(model), strict=False)
    missing = [name for name in missing if not name.startswith("dense.")]
    if missing:
        raise ValueError(f"{path}: holds no {missing[0]} in floating point; training goes on from the float version of a model")
    return unfolded(folded, crops)


def weights_of(model: onnx.ModelProto) -> dict[str, Tensor]:
    """Of all convolutions, by their names in the folded network."""
    stored = {weight.name.removesuffix(".half"): weight for weight in model.graph.initializer}
    values = {}
    for node in model.graph.node:
        if node.op_type == "Identity" and node.input[0] in stored:
            # Equal weights are stored once.
            stored[node.output[0]] = stored[node.input[0]]
        elif node.op_type == "Conv":
            unit = node.input[1].removeprefix("network.").removesuffix(".weight")
            for part, name in zip(("weight", "bias"), node.input[1:], strict=True):
                if name in stored:
                    values[f"{unit}.{part}"] = torch.from_numpy(numpy_helper.to_array(stored[name]).astype("float32"))
    return values


@torch.no_grad()
def unfolded(folded: Network, crops: Iterable[Tensor]) -> Network:
    """The reverse of [`fused`](cellnet.network.fused): the same function, with normalisation of what it sees in `crops`."""
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
