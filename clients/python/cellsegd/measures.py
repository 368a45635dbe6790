"""Measurements as flat names with their units, the columns of the table of cells. Coordinates stay those of the contract."""

from __future__ import annotations

from collections.abc import Iterable

from cellsegd import contract as pb

_INTENSITY = {
    "mean": "mean_counts",
    "min": "min_counts",
    "max": "max_counts",
    "std": "std_counts",
    "integrated": "integrated_counts",
    "background": "background_counts",
    "weighted_centroid_x_px": "weighted_centroid_x_px",
    "weighted_centroid_y_px": "weighted_centroid_y_px",
}


def measures_of(measures: pb.Measures) -> dict[str, float]:
    """What is known of one cell; what is not is absent."""
    flat: dict[str, float] = {"area_px": measures.area_px}
    for name in ("area_um2", "stage_x_um", "stage_y_um"):
        if measures.HasField(name):
            flat[name] = getattr(measures, name)
    for group in ("shape", "hull"):
        if measures.HasField(group):
            flat.update(_numbers(getattr(measures, group)))
    if measures.HasField("neighbours"):
        for name, value in _numbers(measures.neighbours).items():
            flat["neighbours_within_radius" if name == "within_radius" else name] = value
    flat.update(of_channel(measures.intensity))
    return flat


def of_channel(intensities: Iterable[pb.Intensity]) -> dict[str, float]:
    """Each channel's counts, its name before the measurement's; "intensity" where it has none."""
    flat = {}
    for intensity in intensities:
        for name, value in _numbers(intensity).items():
            flat[f"{intensity.channel or 'intensity'}_{_INTENSITY[name]}"] = value
    return flat


def _numbers(message: pb.Shape | pb.Hull | pb.Neighbours | pb.Intensity) -> dict[str, float]:
    """Every number that was sent, 0 too."""
    return {
        field.name: getattr(message, field.name)
        for field in message.DESCRIPTOR.fields
        if field.name != "channel" and (not field.has_presence or message.HasField(field.name))
    }
