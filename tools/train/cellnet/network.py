"""The network: an anchor-free one-stage detector with mask prototypes, small enough for one CPU core.

Boxes, scores and mask coefficients at strides 8, 16 and 32, prototypes at stride 4, as in YOLACT (Bolya et al., ICCV 2019) on an
anchor-free head (Tian et al., "FCOS", ICCV 2019). The trunk is made of blocks that split their channels, transform one half in
steps and merge all steps (Wang et al., "CSPNet", CVPRW 2020; "Designing Network Design Strategies Through Gradient Path
Analysis", 2022), the neck is a top-down pyramid (Lin et al., "FPN", CVPR 2017). Activations are ReLU: engines fold it into the
convolution, which leaves time for more channels, and 8-bit versions lose less by it.
"""

from copy import deepcopy
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from cellnet.contract import STRIDES

PRIOR = 0.01
"""What scores are before training: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017."""


@dataclass(frozen=True)
class Shape:
    """What a checkpoint needs to make its network again."""

    n_classes: int = 2
    n_prototypes: int = 32
    stem: int = 16
    widths: tuple[int, int, int, int] = (32, 64, 128, 256)
    """Channels at strides 4, 8, 16 and 32."""
    depths: tuple[int, int, int, int] = (1, 2, 3, 2)
    neck: tuple[int, int, int] = (64, 96, 128)
    """Channels of the pyramid at strides 8, 16 and 32."""
    head: int = 64
    mask: int = 64
    """Channels of the prototype branch."""

    def to_dict(self) -> dict:
        return asdict(self)

    @staticmethod
    def from_dict(values: dict) -> "Shape":
        return Shape(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


SHAPES = {
    "standard": Shape(),
    "wide": Shape(widths=(32, 80, 160, 256), neck=(80, 112, 128), head=80),
    "nano": Shape(widths=(24, 48, 96, 128), depths=(1, 1, 2, 1), neck=(48, 64, 64), head=48, mask=40),
}
"""By name: what is shipped, one for a GPU's patience, one for small inputs."""


@dataclass
class Raw:
    """What training needs of a batch. N anchors are those of stride 8 row by row, then 16, then 32."""

    distances: Tensor
    """[B, N, 4]: left, top, right, bottom of the anchor's centre, in strides."""
    logits: Tensor
    """[B, N, classes]."""
    coefficients: Tensor
    """[B, N, prototypes]."""
    prototypes: Tensor
    """[B, prototypes, H/4, W/4]."""
    dense: Tensor | None
    """[B, 2, H/4, W/4]: logits of "cell" and "edge of a cell"; only in training."""


class Conv(nn.Sequential):
    """Convolution, normalisation, ReLU."""

    def __init__(self, n_in: int, n_out: int, kernel: int = 1, stride: int = 1):
        super().__init__(
            nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(n_out, eps=1e-3, momentum=0.03),
            nn.ReLU(inplace=True),
        )


class Step(nn.Module):
    """Two 3x3 convolutions with a way around them."""

    def __init__(self, n: int):
        super().__init__()
        self.first, self.second = Conv(n, n, 3), Conv(n, n, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))


class Split(nn.Module):
    """Half of the channels goes through `depth` steps; what went in and what each step gave is merged."""

    def __init__(self, n_in: int, n_out: int, depth: int):
        super().__init__()
        half = n_out // 2
        # Two convolutions instead of one and a split: the same numbers, and one node less to slice in the exported graph.
        self.kept, self.sent = Conv(n_in, half), Conv(n_in, half)
        self.steps = nn.ModuleList(Step(half) for _ in range(depth))
        self.merge = Conv((2 + depth) * half, n_out)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.kept(x), self.sent(x)]
        for step in self.steps:
            parts.append(step(parts[-1]))
        return self.merge(torch.cat(parts, 1))


class Surroundings(nn.Module):
    """What lies around each place, at four sizes: spatial pyramid pooling (He et al., ECCV 2014), pools in a row."""

    def __init__(self, n: int):
        super().__init__()
        self.narrow = Conv(n, n // 2)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.merge = Conv(n // 2 * 4, n)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.narrow(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        return self.merge(torch.cat(parts, 1))


class Head(nn.Module):
    """Boxes with coefficients, and scores, of one stride."""

    def __init__(self, n_in: int, shape: Shape):
        super().__init__()
        n = shape.head
        self.trunk = Conv(n_in, n, 3)
        self.form = Conv(n, n, 3)
        self.kind = Conv(n, n // 2, 3)
        self.distances = nn.Conv2d(n, 4, 1)
        self.coefficients = nn.Conv2d(n, shape.n_prototypes, 1)
        self.logits = nn.Conv2d(n // 2, shape.n_classes, 1)
        nn.init.constant_(self.distances.bias, 1.0)
        nn.init.constant_(self.logits.bias, float(torch.logit(torch.tensor(PRIOR))))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.trunk(x)
        form = self.form(x)
        return self.distances(form), self.logits(self.kind(x)), self.coefficients(form)


class Network(nn.Module):
    """`forward` gives [`Raw`]; the exported graph is made by `cellnet.export`."""

    def __init__(self, shape: Shape = Shape()):
        super().__init__()
        self.shape = shape
        w4, w8, w16, w32 = shape.widths
        d4, d8, d16, d32 = shape.depths
        n8, n16, n32 = shape.neck
        self.stage4 = nn.Sequential(Conv(3, shape.stem, 3, 2), Conv(shape.stem, w4, 3, 2), Split(w4, w4, d4))
        self.stage8 = nn.Sequential(Conv(w4, w8, 3, 2), Split(w8, w8, d8))
        self.stage16 = nn.Sequential(Conv(w8, w16, 3, 2), Split(w16, w16, d16))
        self.stage32 = nn.Sequential(Conv(w16, w32, 3, 2), Split(w32, w32, d32), Surroundings(w32))
        self.lateral32 = Conv(w32, n32)
        self.neck16 = Split(w16 + n32, n16, 1)
        self.neck8 = Split(w8 + n16, n8, 1)
        self.heads = nn.ModuleList(Head(n, shape) for n in shape.neck)
        # Prototypes see the sharp features of stride 4 beside the pyramid's meaning.
        self.mask8 = Conv(n8, shape.mask)
        self.mask4 = Conv(w4, shape.mask)
        self.mask = Conv(shape.mask, shape.mask, 3)
        self.prototypes = nn.Conv2d(shape.mask, shape.n_prototypes, 1)
        self.dense = nn.Conv2d(shape.mask, 2, 1)

    def forward(self, images: Tensor) -> Raw:
        levels, masks = self.features(images)
        outputs = [head(level) for head, level in zip(self.heads, levels, strict=True)]
        distances, logits, coefficients = (
            torch.cat([part.flatten(2) for part in parts], 2).transpose(1, 2) for parts in zip(*outputs, strict=True)
        )
        dense = self.dense(masks) if self.training else None
        return Raw(functional.softplus(distances.float()), logits, coefficients, self.prototypes(masks), dense)

    def features(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """The pyramid at strides 8, 16 and 32, and what prototypes are made of."""
        x4 = self.stage4(images)
        x8 = self.stage8(x4)
        x16 = self.stage16(x8)
        y32 = self.lateral32(self.stage32(x16))
        y16 = self.neck16(torch.cat([x16, twice(y32)], 1))
        y8 = self.neck8(torch.cat([x8, twice(y16)], 1))
        return [y8, y16, y32], self.mask(twice(self.mask8(y8)) + self.mask4(x4))


def twice(x: Tensor) -> Tensor:
    """Each value on 2 x 2."""
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


def anchors(height: int, width: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Centres in input pixels (x, y) [N, 2] and strides [N], in the order of [`Raw`]."""
    centres, strides = [], []
    for stride in STRIDES:
        y, x = torch.meshgrid(
            torch.arange(height // stride, device=device), torch.arange(width // stride, device=device), indexing="ij"
        )
        centres.append((torch.stack([x, y], -1).reshape(-1, 2).float() + 0.5) * stride)
        strides.append(torch.full((len(centres[-1]),), float(stride), device=device))
    return torch.cat(centres), torch.cat(strides)


def boxes_of(distances: Tensor, centres: Tensor, strides: Tensor) -> Tensor:
    """Corners x0, y0, x1, y1 in input pixels [..., N, 4]."""
    reach = distances * strides[:, None]
    return torch.cat([centres - reach[..., :2], centres + reach[..., 2:]], -1)


def fused(network: Network) -> Network:
    """The same network with normalisation folded into the convolutions, for export. `network` itself stays as it is."""
    network = deepcopy(network).eval()
    for module in network.modules():
        if isinstance(module, Conv):
            module[0] = torch.nn.utils.fusion.fuse_conv_bn_eval(module[0], module[1])
            module[1] = nn.Identity()
    return network
