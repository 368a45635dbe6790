"""The manifest and the model card that lie beside an ONNX file. Figures come from reports of `cellsegd eval --json`."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import onnx

from cellnet.contract import BEGAN_WITH, CLASSES, MIN_SPAN_OF_FULL_RANGE, SHOWN

NOT_SAID = "Not said."


@dataclass(frozen=True)
class Origin:
    """Where a model comes from."""

    data: tuple[str, ...] = ()
    """What it was trained on, a set a line, with source and licence."""
    licence: str = NOT_SAID
    limits: tuple[str, ...] = ()
    """What to know of it beside what holds for every model."""


BUNDLED = Origin(
    (
        "usiigaci_t98g: 36 phase-contrast fields of T98G cells, 1024 x 1022, 16 bit, 0.8708 um/px, hand-drawn masks. "
        "Tsai et al., SoftwareX 9 (2019) 230-237. MIT, Okinawa Institute of Science & Technology Graduate University, 2018.",
        "dsb2018_fluo: 438 images of fluorescent nuclei, 8 bit. 2018 Data Science Bowl, stage 1 (BBBC038). CC0.",
    ),
    "MIT OR Apache-2.0. Network and weights were made by the cellsegd project: no third-party code or weights are in them.",
    (
        "The images kept aside are few, and those of nuclei easier than the average.",
        "What is smaller than 12 pixels a side on the 640 x 640 that the network sees is mostly missed: ask for tiles.",
        "Hand-drawn T98G outlines are noisy: two people's annotations of the same cells agree at F1 0.73 (IoU 0.5) and 0.24 (0.75).",
        "Bright-field without phase contrast, inverted fluorescence and tissue were never shown to it.",
    ),
)
"""Of the model built into cellsegd."""

OF_FOLDS = "Cross-validated: other models of the same recipe, each judged by images left out of its training."

OF_EVERY_MODEL = "Figures are of these data alone: other cells, stains and lenses need a look, or a model of their own."


@dataclass(frozen=True)
class Facts:
    """What is said of a model."""

    name: str
    version: str
    precision: str
    um_per_px: float
    confidence: float
    iou: float
    training: str
    """How it was trained, in a sentence."""
    origin: Origin = Origin()


@dataclass(frozen=True)
class Measured:
    """One line of figures: a set of images and what `cellsegd eval --json` said of the model on it."""

    name: str
    images: int
    labelled: int
    f1_50: float
    f1_75: float
    mean_iou: float
    of_folds: bool = False
    """Of other models of the same recipe, each without the images that it was judged by."""

    def __str__(self) -> str:
        figures = f"{self.f1_50:.3f} / {self.f1_75:.3f} / {self.mean_iou:.3f}"
        return f"{self.title}, {self.images} images, {self.labelled:,} cells: {figures}"

    @property
    def title(self) -> str:
        return f"{self.name}, cross-validated" if self.of_folds else self.name


def measured(name: str, report: Path, sha256: str, facts: Facts) -> Measured:
    """From a report, which must be of this very file at these thresholds."""
    values = json.loads(report.read_text())
    models = [model for model in values["models"] if model["sha256"] == sha256]
    if not models:
        raise ValueError(f"{report}: not of the model with sha256 {sha256}")
    _at(facts, models[0], report)
    scores = models[0]["all"]
    f1 = {at["iou"]: at["f1"] or 0.0 for at in scores["at"]}
    return Measured(name, values["n_images"], values["labelled"], f1[0.5], f1[0.75], scores["mean_iou"] or 0.0)


def _at(facts: Facts, model: dict, report: Path) -> None:
    """Refuses figures at other thresholds than the manifest's."""
    used = model["thresholds"]
    for key, wanted in (("confidence", facts.confidence), ("iou", facts.iou), ("class_agnostic", True)):
        if abs(used[key] - wanted) > 1e-6:
            raise ValueError(f"{report}: at {key} {used[key]}, the manifest is to say {wanted}")


def cross_validated(name: str, reports: list[Path], facts: Facts) -> Measured:
    """From the reports of all folds, each of the one model that did not see its images. Cells are counted over all of them."""
    if not reports:
        raise ValueError(f"{name}: no reports of folds")
    images = labelled = found = 0
    right, overlap = {0.5: 0, 0.75: 0}, 0.0
    for report in reports:
        values = json.loads(report.read_text())
        if len(values["models"]) != 1:
            raise ValueError(f"{report}: of {len(values['models'])} models, wanted the one of its fold")
        _at(facts, values["models"][0], report)
        scores = values["models"][0]["all"]
        images += values["n_images"]
        labelled += scores["labelled"]
        found += scores["found"]
        pairs = {at["iou"]: at["right"] for at in scores["at"]}
        right = {iou: n + pairs[iou] for iou, n in right.items()}
        overlap += (scores["mean_iou"] or 0) * pairs[0.5]
    f1 = {iou: 2 * n / max(labelled + found, 1) for iou, n in right.items()}
    return Measured(name, images, labelled, f1[0.5], f1[0.75], overlap / max(right[0.5], 1), of_folds=True)


def sha256_of(model: Path) -> str:
    return hashlib.sha256(model.read_bytes()).hexdigest()


def said_of_data(model: Path, facts: Facts) -> list[str]:
    """What it was trained on; of a model that began with another's network also which that was."""
    about = {prop.key: prop.value for prop in onnx.load(str(model)).metadata_props}
    lines = list(facts.origin.data) or [NOT_SAID]
    if BEGAN_WITH in about:
        lines.append(f"Before that: what the model of sha256 {about[BEGAN_WITH]} was trained on. Its training began with that one.")
    return lines


def manifest_text(model: Path, facts: Facts, figures: list[Measured]) -> str:
    """TOML as engines/README.md describes it."""
    low, high = SHOWN
    classes = ", ".join(_quoted(name) for name in CLASSES)
    metrics = ["Not measured yet."]
    if figures:
        metrics = [
            f"At confidence {facts.confidence} and IoU {facts.iou}, class-agnostic, on images kept aside; "
            "F1 at mask IoU 0.5 / F1 at 0.75 / mean IoU of matches:",
            *(str(line) for line in figures if not line.of_folds),
        ]
        if folds := [str(line) for line in figures if line.of_folds]:
            metrics += [OF_FOLDS, *folds]
    return "\n".join([
        f"# What {model.name} is. Keys: README.md beside this file.",
        f"name = {_quoted(facts.name)}",
        f"version = {_quoted(facts.version)}",
        f"classes = [{classes}]",
        f"trained_um_per_px = {facts.um_per_px}",
        f"precision = {_quoted(facts.precision)}",
        f"sha256 = {_quoted(sha256_of(model))}",
        "",
        f"licence = {_lines([facts.origin.licence])}",
        "",
        f"data = {_lines(said_of_data(model, facts))}",
        "",
        f"metrics = {_lines(metrics)}",
        "",
        "[normalization]",
        'policy = "percentiles"',
        f"low = {low}",
        f"high = {high}",
        f"min_span_of_full_range = {MIN_SPAN_OF_FULL_RANGE}",
        "",
        "[thresholds]",
        f"confidence = {facts.confidence}",
        f"iou = {facts.iou}",
        "class_agnostic = true",
        "",
    ])


def card_text(model: Path, facts: Facts, figures: list[Measured]) -> str:
    """The model card, Markdown (Mitchell et al., "Model Cards for Model Reporting", 2019)."""
    proto = onnx.load(str(model))
    n_weights = sum(_size(tensor) for tensor in proto.graph.initializer if len(tensor.dims) == 4)
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    size = " x ".join(str(dim.dim_value or "any") for dim in dims[2:])
    rows = [
        f"| {line.title} | {line.images} / {line.labelled:,} | {line.f1_50:.3f} | {line.f1_75:.3f} | {line.mean_iou:.3f} |"
        for line in figures
    ]
    return "\n".join([
        f"# {facts.name} {facts.version}",
        "",
        f"Cells in phase contrast and nuclei in fluorescence, as instances. Input {size}, {n_weights / 1e6:.2f} M weights, "
        f"{facts.precision}, classes {', '.join(CLASSES)}.",
        "",
        "## What it reaches",
        "",
        f"`cellsegd eval` at confidence {facts.confidence}, IoU {facts.iou}, class-agnostic, images kept aside:",
        "",
        "| set | images / cells | F1 at IoU 0.5 | F1 at 0.75 | mean IoU of matches |",
        "|---|---|---|---|---|",
        *rows,
        "",
        *([OF_FOLDS, ""] if any(line.of_folds for line in figures) else []),
        "## What it was trained on",
        "",
        *(f"- {line}" for line in said_of_data(model, facts)),
        "",
        facts.training,
        "",
        "## What to know before using it",
        "",
        *(f"- {line}" for line in (OF_EVERY_MODEL, *facts.origin.limits)),
        "",
        "## Licence",
        "",
        facts.origin.licence,
        "",
    ])


def _size(tensor: onnx.TensorProto) -> int:
    n = 1
    for dim in tensor.dims:
        n *= dim
    return n


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _lines(lines) -> str:
    """A text of several lines in TOML."""
    text = "\n".join(lines).replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    return f'"""\n{text}"""'
