"""Cross-validation: which images are left out. Fields that show the same cells and tiles of one field stay together."""

from pathlib import Path

from cellnet.pack import Entry, Sample


def fold_of(entries: list[Entry], n: int) -> dict[str, int]:
    """The fold of each group, 0 to n - 1: the largest groups first, each into the fold of its source with the fewest images."""
    folds: dict[str, int] = {}
    for source in sorted({entry.source for entry in entries}):
        sizes: dict[str, int] = {}
        for entry in entries:
            if entry.source == source:
                sizes[entry.group] = sizes.get(entry.group, 0) + 1
        filled = [0] * n
        for group, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
            folds[group] = filled.index(min(filled))
            filled[folds[group]] += size
    return folds


def split(samples: list[Sample], fold: str) -> tuple[list[Sample], list[Sample]]:
    """(trained on, left out) of "k/n"; everything and nothing of an empty text."""
    if not fold:
        return samples, []
    left_out, slash, n = fold.partition("/")
    if not (slash and left_out.isdecimal() and n.isdecimal() and int(left_out) < int(n) and int(n) > 1):
        raise ValueError(f"fold {fold}: wanted k/n with 0 <= k < n and n of 2 or more")
    left_out, n = int(left_out), int(n)
    folds = fold_of([sample.entry for sample in samples], n)
    kept = [sample for sample in samples if folds[sample.entry.group] != left_out]
    return kept, [sample for sample in samples if folds[sample.entry.group] == left_out]


def place(data: Path, out: Path, samples: list[Sample]) -> None:
    """Links the files of `samples` into out/SOURCE/images and out/SOURCE/masks, for `cellsegd eval`."""
    for entry in (sample.entry for sample in samples):
        for kind in ("images", "masks"):
            link = out / entry.source / kind / f"{entry.name}.png"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to((data / entry.source / "train" / kind / link.name).resolve())
