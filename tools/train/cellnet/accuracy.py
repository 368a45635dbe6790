"""The tables of docs/accuracy.md: `cellsegd eval` of models on images as recorded and as other microscopes show them."""

import json
import subprocess
import tempfile
from pathlib import Path

from cellnet import straight, trials
from cellnet.trials import TRIALS, Trial

SETS = {"T98G phase contrast": "usiigaci_t98g", "nuclei": "dsb2018_fluo"}


def judge(cellsegd: Path, folder: Path, models: list[Path]) -> dict:
    """What `cellsegd eval` says of a folder of images and masks; its other files are in folder/eval."""
    if not cellsegd.is_file():
        raise FileNotFoundError(f"{cellsegd}: no program; cargo build --release makes it, --cellsegd names another")
    arguments = [cellsegd, "eval", "--images", folder / "images", "--masks", folder / "masks", "--json", "--out", folder / "eval"]
    for model in models:
        arguments += ["--model", model]
    done = subprocess.run([str(word) for word in arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{cellsegd} eval ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def tables(cellsegd: Path, data: Path, models: list[Path], wanted: tuple[Trial, ...] = TRIALS) -> str:
    """Markdown: for each set a table, a row for each trial, F1 at 0.5 / F1 at 0.75 / mean IoU of matches of each model; for trials
    without cells how many were found in all images together. Below it how many masks look cut. `wanted` holds the plain one."""
    text = []
    for title, source in SETS.items():
        val = data / source / "val"
        rows = []
        with tempfile.TemporaryDirectory() as folder:
            for trial in wanted:
                made = trials.write(trial, val / "images", val / "masks", Path(folder))
                report = judge(cellsegd, made, models)
                if trial.name == "plain":
                    labels = report["labelled"]
                    labelled = f"Masks with a straight side: {percent(straight.share(made / 'eval/truth.json'))} of those labelled"
                    shares = [straight.share(made / f"eval/detections-{file_name(model['label'])}.json") for model in report["models"]]
                rows.append(f"| {trial.title} | " + " | ".join(figures(model["all"], trial) for model in report["models"]) + " |")
        names = [model["name"] for model in report["models"]]
        text += [
            f"**{title}**, {report['n_images']} images, {labels:,} cells",
            "",
            f"| {' | '.join(['images', *names])} |",
            "|---" * (len(names) + 1) + "|",
            *rows,
            "",
            ", ".join([labelled, *(f"{percent(each)} of {name}'s" for each, name in zip(shares, names, strict=True))]) + ".",
            "",
        ]
    return "\n".join(text)


def figures(scores: dict, trial: Trial) -> str:
    if trial.empty:
        return f"{scores['found']} found"
    f1 = {at["iou"]: at["f1"] or 0.0 for at in scores["at"]}
    return f"{f1[0.5]:.3f} / {f1[0.75]:.3f} / {scores['mean_iou'] or 0:.3f}"


def percent(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:.1f} %"


def file_name(label: str) -> str:
    """As `cellsegd eval` writes a model's label in a file's name."""
    return "".join("_" if letter in "/\\:" else letter for letter in label)
