"""Two lists of instances of one frame, held against each other."""

from dataclasses import dataclass

import numpy as np
from ours import Instance
from theirs import CONFIDENCE, Found

# A score this near to the threshold may fall on either side.
SCORE_TOLERANCE = 0.01
# A mask of so few pixels at its box's edge, or in a box thinner than a pixel, comes and goes with the box's last bit.
TINY = 16


@dataclass
class Agreement:
    """Of the pairs of one frame, each ours and theirs once."""

    n_ours: int
    n_theirs: int
    mask_ious: np.ndarray
    box_pixels: np.ndarray
    score_differences: np.ndarray
    # Confident instances of either side, of more than a few pixels, that the other does not have.
    alone: list[str]

    def __str__(self) -> str:
        if not len(self.mask_ious):
            return f"{self.n_ours} and {self.n_theirs} instances, no pair"
        return (
            f"{self.n_ours} and {self.n_theirs} instances, {len(self.mask_ious)} pairs; "
            f"masks: mean IoU {self.mask_ious.mean():.4f}, least {self.mask_ious.min():.4f}; "
            f"boxes: {self.box_pixels.max():.3f} px at most; "
            f"scores: {self.score_differences.max():.5f} at most"
        )


def agreement(ours: list[Instance], theirs: Found) -> Agreement:
    """Pairs of one class by falling IoU of their boxes, which decoding does not touch."""
    n_theirs = len(theirs.classes)
    boxes = np.array([[box_iou(each.box, box) for box in theirs.boxes] for each in ours]).reshape(len(ours), n_theirs)
    same_class = np.array([[each.class_index == c for c in theirs.classes] for each in ours], bool).reshape(boxes.shape)
    near = np.array([[abs(each.score - s) <= SCORE_TOLERANCE for s in theirs.scores] for each in ours], bool).reshape(boxes.shape)
    ranked = np.where(same_class & near, boxes, 0)
    pairs = []
    for place in np.argsort(-ranked, axis=None):
        i, j = np.unravel_index(place, ranked.shape)
        if ranked[i, j] > 0.5 and all(i != a and j != b for a, b in pairs):
            pairs.append((i, j))
    ours_paired, theirs_paired = {i for i, _ in pairs}, {j for _, j in pairs}
    sure = CONFIDENCE + SCORE_TOLERANCE
    alone = [
        f"ours {each.score:.4f} {each.box}"
        for i, each in enumerate(ours)
        if i not in ours_paired and each.score > sure and lasts(each.box, each.mask)
    ]
    alone += [
        f"theirs {score:.4f} {box}"
        for j, (score, box) in enumerate(zip(theirs.scores, theirs.boxes))
        if j not in theirs_paired and score > sure and lasts(box, theirs.masks[j])
    ]
    return Agreement(
        n_ours=len(ours),
        n_theirs=n_theirs,
        mask_ious=np.array([mask_iou(ours[i].mask, theirs.masks[j]) for i, j in pairs]),
        box_pixels=np.array([np.abs(ours[i].box - theirs.boxes[j]).max() for i, j in pairs]),
        score_differences=np.array([abs(ours[i].score - theirs.scores[j]) for i, j in pairs]),
        alone=alone,
    )


def lasts(box: np.ndarray, mask: np.ndarray) -> bool:
    return mask.sum() > TINY and (box[2:] - box[:2]).min() >= 1


def box_iou(a: np.ndarray, b: np.ndarray) -> float:
    width, height = (np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])).clip(0)
    areas = [np.prod(box[2:] - box[:2]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def mask_iou(a: np.ndarray, b: np.ndarray) -> float:
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0
