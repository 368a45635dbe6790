"""Which anchors answer for which instance: task-aligned assignment (Feng et al., "TOOD", ICCV 2021).

An anchor is a candidate for an instance if its own patch of the image holds some of the instance's pixels; in plain words, it
looks at the cell. Boxes of long cells that touch hold much of each other, their masks do not.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from cellnet.contract import PROTOTYPE_STRIDE, STRIDES

TOP = 10
SCORE_POWER = 0.5
IOU_POWER = 6.0
ADOPTIONS = 4
"""How often instances without an anchor look for a free one."""


@dataclass
class Assigned:
    """The P anchors that answer for an instance, over the whole batch."""

    image: Tensor
    """[P] index of the crop."""
    anchor: Tensor
    """[P] index of the anchor."""
    instance: Tensor
    """[P] index of the crop's instance."""
    alignment: Tensor
    """[P], 0 to 1: how well the anchor does among those of its instance; 1 for the best."""


@torch.no_grad()
def assign(scores: Tensor, boxes: Tensor, wanted: Tensor, classes: Tensor, candidates: Tensor) -> Assigned:
    """`scores` [B, N, classes] and `boxes` [B, N, 4] are the network's, `wanted` [B, G, 4] and `classes` [B, G] (-1: padding)
    what is to be found, `candidates` [B, G, N] bool comes from [`candidates_of`]."""
    n_anchors = scores.shape[1]
    index = classes.clamp(min=0)[:, None, :].expand(-1, n_anchors, -1)
    own_scores = scores.gather(2, index).transpose(1, 2)
    overlaps = iou(wanted[:, :, None], boxes[:, None])
    alignment = own_scores.pow(SCORE_POWER) * overlaps.pow(IOU_POWER)
    # A first step for anchors that overlap nothing yet: the order among them is no matter, but there must be some.
    alignment = torch.where(candidates, alignment + 1e-9, torch.zeros_like(alignment))
    best = alignment.topk(min(TOP, n_anchors), dim=2)
    chosen = torch.zeros_like(candidates).scatter_(2, best.indices, best.values > 0)
    # An anchor answers for one instance: the one that it overlaps most.
    overlaps = torch.where(chosen, overlaps, torch.full_like(overlaps, -1.0))
    first = overlaps.argmax(1)
    chosen &= torch.zeros_like(chosen).scatter_(1, first[:, None], True)
    adopt(chosen, candidates, alignment)
    alignment = torch.where(chosen, alignment, torch.zeros_like(alignment))
    relative = alignment / alignment.amax(2, keepdim=True).clamp(min=1e-12)
    image, instance, anchor = chosen.nonzero(as_tuple=True)
    return Assigned(image, anchor, instance, relative[image, instance, anchor])


def adopt(chosen: Tensor, candidates: Tensor, alignment: Tensor) -> None:
    """An instance that lost all its anchors to its neighbours gets the best that is free."""
    for _ in range(ADOPTIONS):
        image, instance = (candidates.any(2) & ~chosen.any(2)).nonzero(as_tuple=True)
        if not len(image):
            return
        free = candidates[image, instance] & ~chosen.any(1)[image]
        best = alignment[image, instance].masked_fill(~free, -1.0).max(1)
        # Of several that want one anchor the first gets it, and the others look again.
        key = image * free.shape[1] + best.indices
        wins = free.any(1) & ~((key[:, None] == key) & free.any(1)).tril(-1).any(1)
        chosen[image[wins], instance[wins], best.indices[wins]] = True


@torch.no_grad()
def within(candidates: Tensor, wanted: Tensor, centres: Tensor) -> Tensor:
    """Only candidates whose centre [N, 2] lies in the wanted box [B, G, 4]: no distance to a side is below zero, so no other can
    give that box. An instance that has none of these keeps its candidates."""
    inside = (wanted[:, :, None, :2] < centres).all(3) & (centres < wanted[:, :, None, 2:]).all(3)
    better = candidates & inside
    return torch.where(better.any(2, keepdim=True), better, candidates)


@torch.no_grad()
def candidates_of(coverage: Tensor, classes: Tensor) -> Tensor:
    """Anchors whose patch holds pixels of an instance: [B, G, N] bool of `coverage` [B, G, H/4, W/4]."""
    covered = (coverage > 0).float()
    parts = []
    for stride in STRIDES:
        pooled = functional.max_pool2d(covered, stride // PROTOTYPE_STRIDE)
        parts.append(pooled.flatten(2) > 0)
    return torch.cat(parts, 2) & (classes >= 0)[:, :, None]


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Of boxes by corners [..., 4]."""
    width = torch.minimum(a[..., 2], b[..., 2]) - torch.maximum(a[..., 0], b[..., 0])
    height = torch.minimum(a[..., 3], b[..., 3]) - torch.maximum(a[..., 1], b[..., 1])
    both = width.clamp(min=0) * height.clamp(min=0)
    return both / (area(a) + area(b) - both).clamp(min=1e-6)


def area(box: Tensor) -> Tensor:
    return (box[..., 2] - box[..., 0]).clamp(min=0) * (box[..., 3] - box[..., 1]).clamp(min=0)
