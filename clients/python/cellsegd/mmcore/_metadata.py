"""What the core and the run know about a frame, in the contract's words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cellsegd import contract

# Micro-Manager gives (1, 0, 0, 0, 1, 0) where nobody calibrated: an affine whose scale is not the pixel size says nothing.
AFFINE_TOLERANCE = 0.02
# How a well plate's positions are named: "B03", "B03_0001".
FIELD_MARK = "_"


@dataclass(frozen=True)
class Camera:
    """What holds for all frames of a run."""

    label: str = ""
    # Of a frame, as numpy has it.
    shape: tuple[int, ...] = (0, 0)
    dtype: str = "uint8"
    pixel_size_um: float | None = None
    significant_bits: int = 0
    binning: int | None = None
    # Left and top edge of the region of interest, delivered pixels.
    roi: tuple[int, int] | None = None
    # Micrometres on the stage from delivered pixels, corners of the frame, relative to the stage's position.
    pixel_to_stage: tuple[float, ...] | None = None

    @classmethod
    def of(cls, core: Any, summary: Mapping[str, Any], affine: Sequence[float] | None = None) -> Camera:
        """From the summary metadata of a run; `affine` in place of the core's own."""
        infos: Sequence[Mapping[str, Any]] = summary.get("image_infos") or ({},)
        info = infos[0]
        label = str(info.get("camera_label") or core.getCameraDevice() or "")
        width = int(info.get("width") or core.getImageWidth())
        height = int(info.get("height") or core.getImageHeight())
        size = float(info.get("pixel_size_um") or core.getPixelSizeUm()) or None
        roi = info.get("roi")
        if affine is None:
            affine = info.get("pixel_size_affine") or core.getPixelSizeAffine()
            if not agrees(affine, size):
                affine = None
        elif len(affine) != 6:
            raise ValueError(f"pixel_to_stage has {len(affine)} numbers, must have 6")
        return cls(
            label=label,
            shape=tuple(info.get("plane_shape") or (height, width)),
            dtype="uint16" if info.get("dtype") == "uint16" else "uint8",
            pixel_size_um=size,
            significant_bits=int(core.getImageBitDepth()),
            binning=binning(core, label),
            roi=(int(roi[0]), int(roi[1])) if roi else None,
            pixel_to_stage=about_the_middle(affine, width, height) if affine else None,
        )


def agrees(affine: Sequence[float], pixel_size_um: float | None) -> bool:
    """Whether an affine has the scale of the pixels."""
    if not pixel_size_um or len(affine) != 6:
        return False
    a, b, _, d, e, _ = affine
    scale = math.sqrt(abs(a * e - b * d))
    return math.isclose(scale, pixel_size_um, rel_tol=AFFINE_TOLERANCE)


def about_the_middle(affine: Sequence[float], width: int, height: int) -> tuple[float, ...]:
    """Micro-Manager's affine is about the middle of the image, where the stage's position is; the contract's about its corner."""
    a, b, c, d, e, f = (float(number) for number in affine)
    x, y = width / 2, height / 2
    return a, b, c - a * x - b * y, d, e, f - d * x - e * y


def binning(core: Any, camera: str) -> int | None:
    """Camera pixels a delivered pixel; None: the camera does not say, or not the same along both axes."""
    if not camera or not core.hasProperty(camera, "Binning"):
        return None
    first, _, second = str(core.getProperty(camera, "Binning")).partition("x")
    if not first.isdecimal() or (second and second != first):
        return None
    return int(first) or None


def well_of(event: Any) -> tuple[str, str] | None:
    """Name of the plate and of the well, where the run goes over a well plate."""
    plan = getattr(getattr(event, "sequence", None), "stage_positions", None)
    plate = getattr(plan, "plate", None)
    if plate is None or not event.pos_name:
        return None
    return str(plate.name or ""), str(event.pos_name).partition(FIELD_MARK)[0]


def frame_metadata(event: Any, meta: Mapping[str, Any], camera: Camera, started_at: float) -> contract.FrameMetadata:
    """Of one frame; `started_at` is the time of day at which the run's clock was 0, seconds since 1970."""
    told = contract.FrameMetadata(
        index={str(axis): int(at) for axis, at in event.index.items()},
        channel=event.channel.config if event.channel else "",
        position=event.pos_name or "",
        camera=str(meta.get("camera_device") or camera.label),
    )
    well = well_of(event)
    if well:
        told.plate, told.well = well
    exposure = meta.get("exposure_ms", event.exposure)
    if exposure is not None:
        told.exposure_ms = exposure
    stage = meta.get("position") or {}
    for axis in "xyz":
        at = stage.get(axis)
        at = at if at is not None else getattr(event, f"{axis}_pos")
        if at is not None:
            setattr(told, f"{axis}_um", at)
    size = meta.get("pixel_size_um") or camera.pixel_size_um
    if size:
        told.pixel_size_um = size
    if camera.binning:
        told.binning = camera.binning
    if camera.roi:
        per_pixel = camera.binning or 1
        told.roi_x, told.roi_y = (edge * per_pixel for edge in camera.roi)
    if camera.pixel_to_stage:
        told.pixel_to_stage.extend(camera.pixel_to_stage)
    elapsed_ms = meta.get("runner_time_ms")
    if elapsed_ms is not None:
        told.elapsed_ms = elapsed_ms
        told.captured_at.FromNanoseconds(round((started_at + elapsed_ms / 1000) * 1e9))
    for value in meta.get("property_values") or ():
        told.properties[f"{value['dev']}-{value['prop']}"] = str(value["val"])
    return told
