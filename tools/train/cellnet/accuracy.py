"""The tables of docs/accuracy.md: `cellsegd eval` of several models on sets of images as recorded and as other microscopes show them."""

import json
import subprocess
import tempfile
from pathlib import Path

from cellnet import trials
from cellnet.trials import TRIALS, Trial

SETS = {"T98G phase contrast": "usiigaci_t98g", "nuclei": "dsb2018_fluo"}


def judge(cellsegd: Path, folder: Path, models: list[Path]) -> dict:
    """What `cellsegd eval --json` says of a folder of images and masks."""
    arguments = [cellsegd, "eval", "--images", folder / "images", "--masks", folder / "masks", "--json"]
    for model in models:
        arguments += ["--model", model]
    done = subprocess.run([str(word) for word in arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{cellsegd} eval ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def tables(cellsegd: Path, data: Path, models: list[Path], wanted: tuple[Trial, ...] = TRIALS) -> str:
    """Markdown: for each set a table, a row for each trial, F1 at 0.5 / F1 at 0.75 / mean IoU of matches of each model; for trials
    without cells how many were found in all images together."""
    text = []
    for title, source in SETS.items():
        val = data / source / "val"
        rows = []
        with tempfile.TemporaryDirectory() as folder:
            for trial in wanted:
                report = judge(cellsegd, trials.write(trial, val / "images", val / "masks", Path(folder)), models)
                rows.append(f"| {trial.title} | " + " | ".join(figures(model["all"], trial) for model in report["models"]) + " |")
        names = [model["name"] for model in report["models"]]
        text += [
            f"**{title}**, {report['n_images']} images",
            "",
            f"| {' | '.join(['images', *names])} |",
            "|---" * (len(names) + 1) + "|",
            *rows,
            "",
        ]
    return "\n".join(text)


def figures(scores: dict, trial: Trial) -> str:
    if trial.empty:
        return f"{scores['found']} found"
    f1 = {at["iou"]: at["f1"] or 0.0 for at in scores["at"]}
    return f"{f1[0.5]:.3f} / {f1[0.75]:.3f} / {scores['mean_iou'] or 0:.3f}"
