"""Options and their file."""

import numpy as np
import pytest
from conftest import demo_files, skip
from real_daemon import BIN, BUNDLED, run

from cellsegd import Options, contract, full_range, percentiles, reference, window
from cellsegd import contract as pb
from cellsegd.options import merged_update

FULL = Options(
    model='a "model" \\ with\nall\x7f kinds of letters é 🔬',
    confidence=0.35,
    iou=0.6,
    class_agnostic=False,
    max_cells=0,
    min_area_px=12,
    min_area_um2=1e-7,
    max_area_um2=1e20,
    border="unbiased",
    classes=[0, 2],
    class_confidence={1: 0.5, 3: 0.25},
    delivery="latest",
    window=3,
    priority="urgent",
    normalization=percentiles(1, 99.5, smoothing=0.9),
    tiling=pb.Tiling(mode="MODE_ON", overlap=0.25),
    measure="shape,hull",
    track=pb.Tracking(max_gap=4, divisions=False),
    growth=True,
    region_yx=[[[0, 0], [0, 9], [9, 9]]],
    outputs="cells",
    name="scope-2",
    follow_reload=True,
)


def test_what_is_saved_is_what_is_loaded(tmp_path):
    path = tmp_path / "options.toml"
    for options in (
        Options(),
        FULL,
        Options(normalization=full_range()),
        Options(normalization=window(0, 4095), track=True),
        Options(outputs="labels"),
    ):
        options.save(path)
        again = Options.load(path)
        assert again.message() == options.message(), path.read_text()
        assert (again.confidence, again.border, again.delivery) == (options.confidence, options.border, options.delivery)
        # And again: fields that were loaded may be changed.
        again.confidence = 0.75
        assert again.message().thresholds.confidence == 0.75


def test_the_file_has_the_contracts_names(tmp_path):
    path = tmp_path / "options.toml"
    FULL.save(path)
    text = path.read_text(encoding="utf-8")
    for line in (
        "[thresholds]",
        "confidence = 0.35",
        'delivery = "LATEST"',
        "[normalization.percentiles]",
        "[growth]",
        'mode = "ON"',
    ):
        assert line in text.splitlines(), text
    thresholds = '[thresholds]\nconfidence = 0.3\nborder = "drop"\n[thresholds.class_confidence]\n1 = 0.5\n'
    path.write_text(f'delivery = "DELIVERY_LATEST"\n{thresholds}[tracking]\n')
    options = Options.load(path)
    assert (options.delivery, options.confidence, options.border, options.class_confidence) == ("latest", 0.3, "drop", {1: 0.5})
    assert options.message().HasField("tracking")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("confidence = 0.3", "confidence"),
        ("[thresholds]\nconfidence = 'high'", "confidence"),
        ("delivery = 'SOON'", "SOON"),
        ("[thresholds", "options.toml"),
        ("thresholds = 3", "options.toml"),
        ("window = -1", "window"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path, text, says):
    path = tmp_path / "options.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=says) as error:
        Options.load(path)
    assert "options.toml" in str(error.value)


def test_images_and_where_a_run_stopped_are_not_saved(tmp_path):
    image = np.zeros((4, 4), np.uint8)
    for options in (Options(flat_field=image), Options(normalization=reference(image))):
        with pytest.raises(ValueError, match="images"):
            options.save(tmp_path / "options.toml")
    resume = pb.Tracking(resume=pb.Resume(series=[pb.ResumedSeries(next_id=7)]))
    Options(track=resume).save(tmp_path / "options.toml")
    assert "resume" not in (tmp_path / "options.toml").read_text()


def test_the_program_reads_the_file_that_is_saved_here(tmp_path):
    if "--options" not in run("segment", "--help").stdout:
        skip(f"{BIN} has no segment --options")
    path = tmp_path / "options.toml"
    Options(confidence=0.6, border="drop", measure="shape", track=True).save(path)
    run("segment", "--options", path, "--model", BUNDLED, "--out", tmp_path / "out", demo_files()[0])
    record = (tmp_path / "out/run.json").read_text()
    assert '"confidence": 0.6' in record and '"border": "drop"' in record and '"shape": true' in record


def test_stubs_of_somebody_else_are_taken():
    """The same contract, in another pool of descriptors."""
    from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, message_factory, timestamp_pb2

    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto.FromString(contract.DESCRIPTOR.serialized_pb)
    for each in (duration_pb2.DESCRIPTOR, timestamp_pb2.DESCRIPTOR):
        pool.AddSerializedFile(each.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    theirs = message_factory.GetMessageClass(pool.FindMessageTypeByName("cellseg.v1.Tracking"))(max_gap=7)
    assert Options(track=theirs).message().tracking.max_gap == 7


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("model", 5, "must be a str"),
        ("name", 5, "must be a str"),
        ("window", "four", "must be a whole number"),
        ("window", -1, "must be a whole number"),
        ("follow_reload", "no", "True or False"),
        ("confidence", "high", "must be a number from 0 to 1"),
        ("max_cells", -1, "must be a whole number"),
        ("min_area_um2", "small", "square micrometres"),
        ("class_agnostic", "no", "True or False"),
        ("border", 1, "must be one of keep, drop, unbiased"),
        ("border", "cut", "must be one of keep, drop, unbiased"),
        ("delivery", 2, "must be one of lossless, latest"),
        ("priority", True, "must be one of background, normal, urgent"),
        ("label_by", 1, "must be one of instance, track"),
        ("classes", 3, "class indices"),
        ("classes", ["mitotic"], "class indices"),
        ("class_confidence", {"mitotic": 0.5}, "class indices"),
        ("normalization", "percentiles", r"percentiles\(...\)"),
        ("tiling", True, '"auto", "off", "on"'),
        ("tiling", "always", "must be one of auto, off, on"),
        ("measure", 5, "cellseg.v1.Measurements"),
        ("measure", [1], "must be of shape, hull"),
        ("outputs", 5, "must be of cells, bits"),
        ("outputs", ["cells", 1], "must be of cells, bits"),
        ("track", "yes", "True, False, or a cellseg.v1.Tracking"),
        ("growth", 1, "True, False, or a cellseg.v1.GrowthOptions"),
        ("region_yx", 5, "closed lines"),
        ("region_yx", [["a", "b"]], "closed lines"),
        ("flat_field", np.zeros((4, 4)), "uint8 or uint16"),
        ("flat_field", b"a file", "uint8 or uint16"),
        ("dark", "dark.tif", "uint8 or uint16"),
        ("more", {}, "cellseg.v1.SessionOptions"),
    ],
)
def test_an_option_that_is_wrong_is_named_with_what_is_right(field, value, says):
    with pytest.raises((TypeError, ValueError), match=f"^{field} .*{says}"):
        Options(**{field: value}).message()


@pytest.mark.parametrize(("field", "value"), [("border", 1), ("classes", 3), ("normalization", "auto"), ("outputs", 5)])
def test_an_update_that_is_wrong_is_named_likewise(field, value):
    with pytest.raises((TypeError, ValueError), match=f"^{field} .*must be"):
        merged_update(None, {field: value})
