"""The whole path from a frame to masks, written plainly in numpy, OpenCV and onnxruntime from the published facts about
YOLO-seg: percentile window, LetterBox, the network, greedy NMS, masks at camera resolution inside their boxes."""

from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

FILL = 114 / 255


@dataclass
class Letterbox:
    """How a frame of `shape` (height, width) lies in a square of `side` pixels."""

    shape: tuple[int, int]
    side: int

    def __post_init__(self):
        ratio = min(self.side / self.shape[0], self.side / self.shape[1])
        self.height, self.width = (max(round(length * ratio), 1) for length in self.shape)
        self.top = round((self.side - self.height) / 2 - 0.1)
        self.left = round((self.side - self.width) / 2 - 0.1)

    def apply(self, image: np.ndarray, low: float, high: float) -> np.ndarray:
        """The network's input [3, side, side] of counts between `low` and `high`."""
        unit = np.clip((image.astype(np.float32) - np.float32(low)) / np.float32(high - low), 0, 1)
        scaled = cv2.resize(unit, (self.width, self.height), interpolation=cv2.INTER_LINEAR)
        channels = np.dstack([scaled] * 3) if scaled.ndim == 2 else scaled
        padded = np.full((self.side, self.side, 3), FILL, np.float32)
        padded[self.top : self.top + self.height, self.left : self.left + self.width] = channels
        return padded.transpose(2, 0, 1)

    def box_to_camera(self, box) -> np.ndarray:
        """A box of the input in camera pixels, clipped to the frame."""
        height, width = self.shape
        x = (np.array(box[[0, 2]], np.float64) - self.left) * width / self.width
        y = (np.array(box[[1, 3]], np.float64) - self.top) * height / self.height
        x, y = np.clip(x, 0, width), np.clip(y, 0, height)
        return np.array([x[0], y[0], x[1], y[1]])


@dataclass
class Instance:
    class_index: int
    score: float
    box: np.ndarray
    mask: np.ndarray


class Reference:
    """One model, run by ONNX Runtime."""

    def __init__(self, model: Path, end_to_end: bool = False):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        self.session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0]
        self.side = self.input.shape[2]
        self.end_to_end = end_to_end

    def segment(
        self, image: np.ndarray, window: tuple[float, float], confidence: float, iou: float, agnostic: bool = False
    ) -> list[Instance]:
        """Instances by falling score. Empty masks are dropped."""
        letterbox = Letterbox(image.shape[:2], self.side)
        network_input = letterbox.apply(image, *window)[None]
        outputs = self.session.run(["output0", "output1"], {self.input.name: network_input})
        detections, prototypes = (output[0].astype(np.float64) for output in outputs)
        n_coefficients = len(prototypes)
        if self.end_to_end:
            boxes, scores, classes, coefficients = _end_to_end(detections, confidence)
        else:
            boxes, scores, classes, coefficients = _one_to_many(detections, n_coefficients, confidence)
            kept = nms(boxes, scores, classes, iou, agnostic)
            boxes, scores, classes, coefficients = boxes[kept], scores[kept], classes[kept], coefficients[kept]

        # Camera pixels to prototype cells, one matrix an axis: rows are camera pixels, two weights in each.
        height, width = letterbox.shape
        sample_y = bilinear(height, letterbox.height, letterbox.top, self.side, prototypes.shape[1])
        sample_x = bilinear(width, letterbox.width, letterbox.left, self.side, prototypes.shape[2])
        instances = []
        for box, score, class_index, coefficient in zip(boxes, scores, classes, coefficients):
            logits = np.tensordot(coefficient, prototypes, axes=1)
            camera_box = letterbox.box_to_camera(box)
            x0, y0, x1, y1 = camera_box
            mask = (sample_y @ logits @ sample_x.T) > 0
            mask &= (np.arange(width) >= x0) & (np.arange(width) < x1)
            mask &= ((np.arange(height) >= y0) & (np.arange(height) < y1))[:, None]
            if mask.any():
                instances.append(Instance(int(class_index), float(score), camera_box, mask))
        return instances


def percentile_window(image: np.ndarray, low: float = 0.5, high: float = 99.5) -> tuple[float, float]:
    a, b = np.percentile(image.astype(np.float64), [low, high])
    return float(a), float(b)


def bilinear(n_camera: int, n_new: int, before: int, side: int, n_prototypes: int) -> np.ndarray:
    """[camera, prototypes]: half-pixel centres, exact inverse of scale and padding; prototypes of the padding are cropped off
    and edges repeated."""
    cells = n_prototypes / side
    first, last = floor(before * cells), ceil((before + n_new) * cells) - 1
    in_input = (np.arange(n_camera) + 0.5) * n_new / n_camera + before
    position = np.clip(in_input * cells - 0.5, first, last)
    low = position.astype(int)
    weights = np.zeros((n_camera, n_prototypes))
    rows = np.arange(n_camera)
    weights[rows, low] += 1 - (position - low)
    weights[rows, np.minimum(low + 1, last)] += position - low
    return weights


def nms(boxes, scores, classes, threshold: float, agnostic: bool) -> list[int]:
    """Greedy, by falling score, then rising index: what overlaps a kept box by more than `threshold` goes."""
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = list(np.lexsort((np.arange(len(scores)), -scores)))
    kept = []
    while order:
        best, *order = order
        kept.append(best)
        rest = np.array(order, dtype=int)
        width = np.minimum(boxes[best, 2], boxes[rest, 2]) - np.maximum(boxes[best, 0], boxes[rest, 0])
        height = np.minimum(boxes[best, 3], boxes[rest, 3]) - np.maximum(boxes[best, 1], boxes[rest, 1])
        inter = np.clip(width, 0, None) * np.clip(height, 0, None)
        overlaps = inter / (area[best] + area[rest] - inter) > threshold
        if not agnostic:
            overlaps &= classes[rest] == classes[best]
        order = list(rest[~overlaps])
    return kept


def _one_to_many(detections, n_coefficients: int, confidence: float):
    """[4 + classes + coefficients, anchors], boxes by centre and size."""
    box, class_scores, coefficients = np.split(detections, [4, len(detections) - n_coefficients])
    classes, scores = class_scores.argmax(axis=0), class_scores.max(axis=0)
    keep = scores > confidence
    cx, cy, w, h = box[:, keep]
    boxes = np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=1)
    return boxes, scores[keep], classes[keep], coefficients[:, keep].T


def _end_to_end(detections, confidence: float):
    """[rows, 6 + coefficients], boxes by corners, NMS done."""
    rows = detections[detections[:, 4] > confidence]
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    return rows[:, :4], rows[:, 4], rows[:, 5], rows[:, 6:]
