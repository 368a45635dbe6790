"""Crops side by side, as tensors."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cellnet.crops import Crop


@dataclass
class Batch:
    """Crops side by side; instances are padded to the most that one crop has."""

    images: Tensor
    """float32 [B, 1, S, S]."""
    boxes: Tensor
    """float32 [B, G, 4]."""
    classes: Tensor
    """int64 [B, G]; -1 is padding."""
    coverage: Tensor
    """uint8 [B, G, S/4, S/4]."""
    edges: Tensor
    ignored: Tensor
    """uint8 [B, S/4, S/4]."""

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(getattr(self, name).to(device, non_blocking=True) for name in self.__dataclass_fields__))


def batch_of(crops: list[Crop]) -> Batch:
    """`collate_fn` of the loader."""
    most = max(1, max(len(crop.boxes) for crop in crops))
    small = crops[0].edges.shape[0]
    boxes = np.zeros((len(crops), most, 4), np.float32)
    classes = np.full((len(crops), most), -1, np.int64)
    coverage = np.zeros((len(crops), most, small, small), np.uint8)
    for i, crop in enumerate(crops):
        n = len(crop.boxes)
        boxes[i, :n], classes[i, :n], coverage[i, :n] = crop.boxes, crop.classes, crop.coverage
    stacked = [np.stack([getattr(crop, name) for crop in crops]) for name in ("image", "edges", "ignored")]
    arrays = (stacked[0][:, None], boxes, classes, coverage, stacked[1], stacked[2])
    return Batch(*(torch.from_numpy(array) for array in arrays))
