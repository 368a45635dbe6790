"""What ultralytics does: networks of its own configurations, their exports, and what it finds with them.

It is AGPL-3.0: it lives in an environment of its own, and neither code nor weights of it are part of cellsegd. Nothing is
downloaded: weights are random at first.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from frames import CLASSES, TRAINING, frame, training_set

# It would install packages and ask servers otherwise.
os.environ |= {"YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true", "YOLO_VERBOSE": "false"}

SEED = 0
CONFIDENCE, IOU, MOST = 0.25, 0.7, 1000
# Anchors of a class that pass where nothing was trained, of the 8,400 of a frame; NMS leaves fewer.
PASSING = 40


@dataclass
class Found:
    """What one prediction gave."""

    classes: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray
    masks: np.ndarray


class Ultralytics:
    """Its networks, in a folder."""

    def __init__(self, folder: Path):
        os.environ["YOLO_CONFIG_DIR"] = str(folder / "config")
        from ultralytics import YOLO

        self.yolo = YOLO
        self.folder = folder
        self.data = training_set(folder / "training")

    def trained(self, name: str, epochs: int) -> Path:
        """Weights of a network that saw the training set for a few minutes."""
        model = self.yolo(f"{name}.yaml")
        model.train(
            data=self.data, epochs=epochs, imgsz=320, batch=4, nbs=4, optimizer="AdamW", lr0=2e-3, warmup_epochs=0, mosaic=0.0,
            seed=SEED, device="cpu", workers=0, pretrained=False, amp=False, val=False, plots=False, verbose=False,
            project=self.folder / "runs", name=name,
        )  # fmt: skip
        network = self.yolo(self.folder / "runs" / name / "weights/last.pt").model.float()
        # So few steps leave the averages of normalisation behind the weights.
        see(network)
        return self.saved(network, name, "trained")

    def untrained(self, name: str) -> Path:
        """Random weights that see something, with biases of the scores at which tens of anchors pass."""
        torch.manual_seed(SEED)
        from ultralytics.nn.tasks import SegmentationModel

        network = SegmentationModel(self.yolo(f"{name}.yaml").model.yaml | {"nc": len(CLASSES)}, verbose=False)
        network.names, network.task = dict(enumerate(CLASSES)), "segment"
        see(network)
        raise_scores(network)
        return self.saved(network, name, "untrained")

    def saved(self, network: torch.nn.Module, name: str, how: str) -> Path:
        """NAME-HOW.pt."""
        model = self.yolo(f"{name}.yaml")
        model.model, model.ckpt = network, {}
        path = self.folder / f"{name}-{how}.pt"
        model.save(path)
        return path

    def exported(self, weights: Path, name: str, **options) -> Path:
        """NAME.onnx, as `yolo export format=onnx` writes it."""
        source = self.folder / f"{name}.pt"
        if weights != source:
            shutil.copy(weights, source)
        return Path(self.yolo(source).export(format="onnx", device="cpu", **({"imgsz": 640} | options)))

    def predictor(self, model: Path):
        """What `yolo predict retina_masks=True` finds with the ONNX file, by ONNX Runtime: a function of the frame."""
        yolo = self.yolo(model, task="segment")
        # A file of any size would be given as little padding as its strides allow, were it not for `rect`.
        settings = dict(
            imgsz=640, conf=CONFIDENCE, iou=IOU, max_det=MOST, retina_masks=True, device="cpu", rect=False, verbose=False
        )

        def predict(frame: np.ndarray) -> Found:
            (result,) = yolo.predict(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR), **settings)
            boxes = result.boxes
            masks = np.zeros((0, *frame.shape), bool) if result.masks is None else result.masks.data.numpy().astype(bool)
            return Found(boxes.cls.numpy().astype(int), boxes.conf.numpy(), boxes.xyxy.numpy(), masks)

        return predict


def batch() -> torch.Tensor:
    """Parts of frames of the training set, as the network's input."""
    parts = [frame(n)[top : top + 320, 320:640] for n in TRAINING[::2] for top in (0, 640)]
    return torch.from_numpy(np.stack(parts)[:, None]).repeat(1, 3, 1, 1) / 255


@torch.no_grad()
def see(network: torch.nn.Module):
    """Sets the averages of batch normalisation to those of real frames."""
    network.train()
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.reset_running_stats()
            # The mean of all that it sees.
            layer.momentum = None
    network(batch())
    network.eval()


@torch.no_grad()
def raise_scores(network: torch.nn.Module):
    """Of each class the best anchors of a frame pass, in the head of one box a cell too, where there is one."""
    head = network.model[-1]
    whole = torch.from_numpy(frame(TRAINING[-1])[191:831, 192:832].copy())
    _, raw = network(whole.repeat(1, 3, 1, 1) / 255)
    heads = [(head.cv3, raw.get("one2many", raw))]
    if "one2one" in raw:
        heads.append((head.one2one_cv3, raw["one2one"]))
    for convolutions, outputs in heads:
        # [classes, anchors], before the sigmoid.
        logits = outputs["scores"][0]
        missing = np.log(CONFIDENCE / (1 - CONFIDENCE)) - logits.kthvalue(logits.shape[1] - PASSING, dim=1).values
        for scores in convolutions:
            scores[-1].bias += missing
