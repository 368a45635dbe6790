"""What training makes small: scores, boxes, masks, and a dense picture of cells and their edges.

Two things differ from the usual recipe, because the daemon cuts masks at their boxes and keeps the highest score of several:
boxes are wanted a little larger than the cell, and a score is wanted to be the IoU of the mask that comes out.
"""

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn import functional

from cellnet.assign import Assigned, assign, candidates_of, iou, within
from cellnet.batch import Batch
from cellnet.contract import PROTOTYPE_STRIDE, STRIDES
from cellnet.network import Raw, anchors, boxes_of

CELL_PIXELS = PROTOTYPE_STRIDE**2
LEAST_SHARE = 0.05
"""How much the worst anchor of an instance counts for boxes; the best is 1."""


@dataclass(frozen=True)
class Weights:
    """How much each part counts, and how generous boxes are."""

    score: float = 1.0
    box: float = 2.5
    mask: float = 2.5
    dice: float = 1.0
    dense: float = 0.5
    margin_px: float = 1.5
    """By how much a wanted box is wider than the cell on each side, in pixels of the input, ..."""
    margin: float = 0.03
    """... and as a share of the box's own side."""
    masks_of_instance: int = 3
    """Anchors of an instance whose masks are trained in a step."""
    neighbour: float = 2.0
    """How much a pixel of another cell counts against one of the background."""
    own: float = 1.4
    """And one of the cell itself. Where an outline is in doubt, a mask has the highest expected overlap if it takes in all that is
    more likely its own than half of the overlap reached (for F1: Lipton et al., ECML PKDD 2014): 0.42 here, not 0.5."""


@dataclass
class Losses:
    """Means over a batch."""

    score: Tensor
    box: Tensor
    mask: Tensor
    dice: Tensor
    dense: Tensor

    def total(self, weights: Weights) -> Tensor:
        return sum(getattr(weights, part.name) * getattr(self, part.name) for part in fields(self))


def losses(raw: Raw, batch: Batch, weights: Weights) -> Losses:
    """Of one batch. Sums are of float32 whatever the network computed in."""
    logits, prototypes = raw.logits.float(), raw.prototypes.float()
    side = batch.images.shape[-1]
    centres, strides = anchors(side, side, logits.device)
    boxes = boxes_of(raw.distances, centres, strides)
    wanted = generous(batch.boxes, weights)
    assigned = answers(logits.sigmoid(), boxes, wanted, centres, batch)

    coefficients = raw.coefficients.float()[assigned.image, assigned.anchor]
    own_boxes = boxes[assigned.image, assigned.anchor]
    own_wanted = wanted[assigned.image, assigned.instance]
    quality = mask_quality(prototypes, coefficients, own_boxes, assigned, batch)
    targets = torch.zeros_like(logits)
    classes = batch.classes[assigned.image, assigned.instance]
    targets[assigned.image, assigned.anchor, classes] = assigned.alignment * quality
    asked = ~ignored_anchors(batch)
    asked[assigned.image, assigned.anchor] = True
    n = targets.sum().clamp(min=1.0)
    score = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    score = (score * asked[..., None]).sum() / n

    # Anchors that do well count more, and none counts for nothing.
    share = LEAST_SHARE + (1 - LEAST_SHARE) * assigned.alignment
    box = (share * (1 - diou(own_boxes, own_wanted))).sum() / share.sum().clamp(min=1e-6)
    mask, dice = mask_losses(prototypes, coefficients, own_wanted, assigned, batch, weights)
    return Losses(score, box, mask, dice, dense_loss(raw.dense, batch))


@torch.no_grad()
def answers(scores: Tensor, boxes: Tensor, wanted: Tensor, centres: Tensor, batch: Batch) -> Assigned:
    """Who answers for what in the whole batch. On a CPU crop by crop: few hold as many cells as the fullest one."""
    n_crops = len(batch.classes)
    step = n_crops if scores.is_cuda else 1
    parts = []
    for start in range(0, n_crops, step):
        crops = slice(start, start + step)
        most = max(int((batch.classes[crops] >= 0).sum(1).max()), 1)
        classes = batch.classes[crops, :most]
        candidates = within(candidates_of(batch.coverage[crops, :most], classes), wanted[crops, :most], centres)
        part = assign(scores[crops], boxes[crops], wanted[crops, :most], classes, candidates)
        parts.append(replace(part, image=part.image + start))
    return Assigned(**{field.name: torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Assigned)})


def generous(boxes: Tensor, weights: Weights) -> Tensor:
    """Boxes as they are wanted: a mask that ends inside its box is never cut straight."""
    size = torch.cat([boxes[..., 2:] - boxes[..., :2]] * 2, -1)
    outwards = torch.tensor([-1.0, -1.0, 1.0, 1.0], device=boxes.device)
    return boxes + outwards * (weights.margin_px + weights.margin * size) * (size > 0)


def diou(a: Tensor, b: Tensor) -> Tensor:
    """IoU less the distance of the centres: Zheng et al., "Distance-IoU Loss", AAAI 2020."""
    apart = ((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2).pow(2).sum(-1)
    around = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    return iou(a, b) - apart / around.pow(2).sum(-1).clamp(min=1e-6)


@torch.no_grad()
def mask_quality(prototypes: Tensor, coefficients: Tensor, boxes: Tensor, assigned: Assigned, batch: Batch) -> Tensor:
    """[P]: IoU of each mask, cut at its own box as the daemon cuts it, with the instance."""
    quality = torch.zeros(len(boxes), device=boxes.device)
    for crops, own in together(assigned.image, prototypes):
        image = assigned.image[own]
        found = masks(prototypes[crops], coefficients[own], image - crops.start) > 0
        found &= inside(boxes[own], found.shape[-2:])
        true = (batch.coverage[crops] >= CELL_PIXELS // 2)[image - crops.start, assigned.instance[own]]
        sizes = found.sum((1, 2)) + true.sum((1, 2))
        both = found.logical_and_(true).sum((1, 2))
        quality[own] = both / (sizes - both).clamp(min=1)
    return quality


def mask_losses(
    prototypes: Tensor, coefficients: Tensor, wanted: Tensor, assigned: Assigned, batch: Batch, weights: Weights
) -> tuple[Tensor, Tensor]:
    """Cross-entropy with the share of each prototype cell that is the instance's, so that the interpolated logit is zero where the
    outline is; and dice (Milletari et al., "V-Net", 3DV 2016). Both in a window larger than the box, so that a mask ends by itself."""
    zero = prototypes.sum() * 0
    entropies, dices = [zero], [zero]
    picked = pick(assigned, weights.masks_of_instance)
    n = max(len(picked), 1)
    for crops, places in together(assigned.image[picked], prototypes):
        own = picked[places]
        image, instance = assigned.image[own], assigned.instance[own]
        logits = masks(prototypes[crops], coefficients[own], image - crops.start)
        true = batch.coverage[image, instance].float() / CELL_PIXELS
        others = batch.coverage[crops].float().sum(1)[image - crops.start] / CELL_PIXELS - true
        box = wanted[own]
        pad = 6.0 + 0.15 * (box[:, 2:] - box[:, :2]).amax(1, keepdim=True)
        window = inside(torch.cat([box[:, :2] - pad, box[:, 2:] + pad], 1), logits.shape[-2:]).float()
        weight = window * (1 + (weights.neighbour - 1) * others.clamp(max=1) + (weights.own - 1) * true)
        entropy = functional.binary_cross_entropy_with_logits(logits, true, weight, reduction="none")
        entropies.append((entropy.sum((1, 2)) / weight.sum((1, 2)).clamp(min=1)).sum())
        probability = logits.sigmoid() * window
        both = (probability * true).sum((1, 2))
        dices.append((1 - (2 * both + 1) / (probability.sum((1, 2)) + true.sum((1, 2)) + 1)).sum())
    return sum(entropies) / n, sum(dices) / n


def together(image: Tensor, prototypes: Tensor) -> list[tuple[slice, Tensor]]:
    """Crops whose masks are made at once, and the places of theirs in `image`: a GPU wants all at once, a CPU's cache one."""
    n = len(prototypes)
    step = n if prototypes.is_cuda else 1
    groups = []
    for start in range(0, n, step):
        own = ((image >= start) & (image < start + step)).nonzero()[:, 0]
        if len(own):
            groups.append((slice(start, start + step), own))
    return groups


def masks(prototypes: Tensor, coefficients: Tensor, image: Tensor) -> Tensor:
    """Logits [P, H/4, W/4] of `coefficients` [P, K], each with the prototypes of its crop. `image` rises."""
    n, n_prototypes, height, width = prototypes.shape
    place = torch.arange(len(image), device=image.device) - torch.searchsorted(image, image)
    padded = coefficients.new_zeros(n, int(place.max()) + 1, n_prototypes)
    padded[image, place] = coefficients
    return (padded @ prototypes.flatten(2))[image, place].unflatten(1, (height, width))


def pick(assigned: Assigned, most: int) -> Tensor:
    """Indices of at most `most` anchors of each instance: the best aligned."""
    order = assigned.alignment.argsort(descending=True, stable=True)
    key = (assigned.image * 100_000 + assigned.instance)[order]
    by_instance = key.argsort(stable=True)
    order, key = order[by_instance], key[by_instance]
    # Place among those of the same instance.
    first = torch.searchsorted(key, key)
    place = torch.arange(len(key), device=key.device) - first
    return order[place < most]


def inside(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """[P, H/4, W/4] bool: prototype cells whose centre lies in the box (input pixels)."""
    height, width = size
    x = (torch.arange(width, device=boxes.device) + 0.5) * PROTOTYPE_STRIDE
    y = (torch.arange(height, device=boxes.device) + 0.5) * PROTOTYPE_STRIDE
    across = (boxes[:, 0, None] <= x) & (x < boxes[:, 2, None])
    down = (boxes[:, 1, None] <= y) & (y < boxes[:, 3, None])
    return down[:, :, None] & across[:, None, :]


def dense_loss(dense: Tensor | None, batch: Batch) -> Tensor:
    """Cells and their edges for every place: features learn outlines also where no anchor looks. Not in the exported graph."""
    if dense is None:
        return batch.images.sum() * 0
    covered = (batch.coverage.float().sum(1) / CELL_PIXELS).clamp(max=1)
    wanted = torch.stack([covered, batch.edges.float()], 1)
    asked = (batch.ignored == 0).float()[:, None]
    entropy = functional.binary_cross_entropy_with_logits(dense.float(), wanted, reduction="none")
    return (entropy * asked).sum() / (2 * asked.sum()).clamp(min=1)


def ignored_anchors(batch: Batch) -> Tensor:
    """[B, N] bool: anchors that look at pieces nobody is asked to find."""
    parts = []
    for stride in STRIDES:
        pooled = functional.max_pool2d(batch.ignored.float()[:, None], stride // PROTOTYPE_STRIDE)
        parts.append(pooled.flatten(1) > 0)
    return torch.cat(parts, 1)


