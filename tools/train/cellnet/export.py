"""A checkpoint's network as an ONNX file that keeps the YOLO-seg contract.

Input `images` [1, 3, H, W]; outputs `output0` [1, 4 + classes + 32, N], boxes by centre and size in input pixels, scores after
the sigmoid, coefficients; `output1` [1, 32, H/4, W/4]. Of a fixed size the graph holds convolutions, pools, resizes to twice the
size, slices, reshapes and arithmetic; of any size also the shapes that these need.
"""

import json
import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from cellnet.contract import BEGAN_WITH, CLASSES, SHAPE, STRIDES
from cellnet.half import store_half
from cellnet.network import Network, anchors, fused

OPSET = 17


class Contract(nn.Module):
    """The network with its outputs laid out as the contract says. `size` None: any, multiples of 32."""

    def __init__(self, network: Network, size: tuple[int, int] | None):
        super().__init__()
        self.network = fused(network)
        self.size = size
        if size is not None:
            centres, strides = anchors(*size)
            self.register_buffer("centres", centres.T[None].contiguous())
            self.register_buffer("strides", strides[None, None])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        levels, masks = self.network.features(images)
        parts = [head(level) for head, level in zip(self.network.heads, levels, strict=True)]
        distances, logits, coefficients = (torch.cat([part.flatten(2) for part in each], 2) for each in zip(*parts, strict=True))
        centres, strides = (self.centres, self.strides) if self.size is not None else grid(levels)
        reach = functional.softplus(distances) * strides
        first, last = centres - reach[:, :2], centres + reach[:, 2:]
        boxes = torch.cat([(first + last) * 0.5, last - first], 1)
        return torch.cat([boxes, logits.sigmoid(), coefficients], 1), self.network.prototypes(masks)


def grid(levels: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Anchors of a size that is known only when the graph runs: centres [1, 2, N], strides [1, 1, N]."""
    centres, strides = [], []
    for level, stride in zip(levels, STRIDES, strict=True):
        one = torch.ones_like(level[:, :1])
        x = (torch.cumsum(one, 3) - 0.5) * stride
        y = (torch.cumsum(one, 2) - 0.5) * stride
        centres.append(torch.cat([x, y], 1).flatten(2))
        strides.append((one * stride).flatten(2))
    return torch.cat(centres, 2), torch.cat(strides, 2)


def export(network: Network, path: Path, size: tuple[int, int] | None, half_weights: bool = False, began_with: str = "") -> None:
    """Writes the ONNX file; `size` is (height, width) of the input, None for any multiples of 32. `half_weights`: see
    [`store_half`]. `began_with`: sha256 of the file that training began with."""
    height, width = size or (640, 640)
    dynamic = None
    if size is None:
        dynamic = {"images": {2: "height", 3: "width"}, "output0": {2: "anchors"}, "output1": {2: "mask_height", 3: "mask_width"}}
    with torch.no_grad(), warnings.catch_warnings():
        # The older of PyTorch's two exporters writes the plain graph of an opset that all engines know.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Contract(network, size).cpu().eval(),
            (torch.zeros(1, 3, height, width),),
            str(path),
            input_names=["images"],
            output_names=["output0", "output1"],
            dynamic_axes=dynamic,
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load(str(path))
    about = {"task": "segment", "stride": str(max(STRIDES)), "names": str(dict(enumerate(CLASSES))), "batch": "1"}
    about[SHAPE] = json.dumps(network.shape.to_dict())
    if began_with:
        about[BEGAN_WITH] = began_with
    if size is not None:
        about["imgsz"] = str([height, width])
    onnx.helper.set_model_props(model, about)
    # Where the input may have any size, the exporter loses sight of what does not depend on it.
    known = (1, 4 + len(CLASSES) + network.shape.n_prototypes)
    for dim, value in zip(model.graph.output[0].type.tensor_type.shape.dim[:2], known, strict=True):
        dim.dim_value = value
    onnx.checker.check_model(model, full_check=True)
    if half_weights:
        store_half(model)
    onnx.save(model, str(path))
