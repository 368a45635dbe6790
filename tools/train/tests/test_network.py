"""The network and its ONNX files keep the contract, and say the same."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from cellnet import commands
from cellnet.contract import CLASSES
from cellnet.export import OPSET, export
from cellnet.network import SHAPES, Network, anchors, boxes_of, fused
from cellnet.quantize import quantize
from cellnet.restore import stored, unfolded

SIZE = (96, 128)
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def network() -> Network:
    """As small as they come, with statistics that folding has to get right."""
    torch.manual_seed(0)
    network = Network(SHAPES["nano"]).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network


def test_every_shape_can_be_asked_for():
    assert set(commands.SHAPES) == set(SHAPES)


@pytest.mark.parametrize("name", SHAPES)
def test_no_shape_is_larger_than_promised(name):
    assert sum(p.numel() for p in Network(SHAPES[name]).parameters()) <= 3_000_000


def test_outputs_have_an_anchor_for_each_place(network):
    height, width = SIZE
    n = sum(height * width // stride**2 for stride in (8, 16, 32))
    with torch.no_grad():
        raw = network(torch.rand(2, 3, *SIZE))
    assert raw.distances.shape == (2, n, 4) and (raw.distances > 0).all()
    assert raw.logits.shape == (2, n, len(CLASSES)) and raw.coefficients.shape == (2, n, 32)
    assert raw.prototypes.shape == (2, 32, height // 4, width // 4) and raw.dense is None
    centres, strides = anchors(*SIZE)
    assert len(centres) == len(strides) == n
    assert centres[0].tolist() == [4, 4] and centres[1].tolist() == [12, 4] and centres[-1].tolist() == [112, 80]


def test_folding_changes_nothing_but_the_normalisation(network):
    images = torch.rand(1, 3, *SIZE)
    with torch.no_grad():
        one, other = network(images), fused(network)(images)
    assert torch.allclose(one.logits, other.logits, atol=1e-4)
    assert torch.allclose(one.prototypes, other.prototypes, atol=1e-4)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in fused(network).modules())
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())


@pytest.mark.parametrize("size", [SIZE, None])
def test_the_onnx_file_says_what_the_network_says(network, size, tmp_path):
    path = tmp_path / "model.onnx"
    export(network, path, size)
    model = onnx.load(str(path))
    assert model.opset_import[0].version == OPSET
    about = {prop.key: prop.value for prop in model.metadata_props}
    assert about["task"] == "segment" and about["names"] == "{0: 'cell', 1: 'nucleus'}"
    assert about.get("imgsz") == (str([*SIZE]) if size else None)
    dims = [[dim.dim_value for dim in output.type.tensor_type.shape.dim] for output in model.graph.output]
    assert (dims[0][:2], dims[1][:2]) == ([1, 38], [1, 32])
    session = onnxruntime.InferenceSession(str(path))
    for height, width in [size] if size else [SIZE, (64, 160)]:
        images = torch.rand(1, 3, height, width)
        with torch.no_grad():
            raw = network(images)
        boxes = boxes_of(raw.distances, *anchors(height, width))[0]
        detections, prototypes = (torch.from_numpy(out) for out in session.run(None, {"images": images.numpy()}))
        assert detections.shape == (1, 4 + len(CLASSES) + 32, len(boxes))
        centre, extent = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        assert torch.allclose(detections[0, :4].T, torch.cat([centre, extent], 1), atol=1e-3)
        assert torch.allclose(detections[0, 4:6].T, raw.logits[0].sigmoid(), atol=1e-5)
        assert torch.allclose(detections[0, 6:].T, raw.coefficients[0], atol=1e-4)
        assert torch.allclose(prototypes, raw.prototypes, atol=1e-4)


@pytest.mark.parametrize("half_weights", [False, True])
def test_a_network_comes_back_from_its_file(network, tmp_path, half_weights):
    path = tmp_path / "model.onnx"
    export(network, path, SIZE, half_weights)
    seen = [torch.rand(4, 3, *SIZE) for _ in range(2)]
    again = unfolded(stored(path).folded, seen)
    # Half precision keeps 11 bits of each weight.
    exact = 2e-2 if half_weights else 1e-4
    for images in (torch.rand(1, 3, *SIZE), torch.cat(seen)):
        with torch.no_grad():
            one, other = network.eval()(images), again.eval()(images)
        for name in ("distances", "logits", "coefficients", "prototypes"):
            assert torch.allclose(getattr(one, name), getattr(other, name), atol=exact), name
    # In training it normalises by the batch: of what it was measured on that says the same.
    with torch.no_grad():
        trained = again.train()(torch.cat(seen))
    assert torch.allclose(trained.logits, other.logits, atol=exact)
    assert trained.dense is not None
    lengths = again.stage8[0][0].weight.flatten(1).norm(dim=1)
    assert torch.allclose(lengths, torch.full_like(lengths, 3**-0.5))


def test_training_begins_with_no_foreign_file(network, tmp_path):
    path, size = tmp_path / "model.onnx", (96, 96)
    export(network, path, size, began_with="ab12")
    assert stored(path).side == 96

    def changed(name: str, **about: str):
        model = onnx.load(str(path))
        onnx.helper.set_model_props(model, {prop.key: about.get(prop.key.split(".")[-1], prop.value) for prop in model.metadata_props})
        onnx.save(model, str(tmp_path / f"{name}.onnx"))

    changed("wide", shape=json.dumps(SHAPES["wide"].to_dict()))
    changed("no_shape", shape='{"a": 1}')
    changed("list", shape="[1]")
    changed("no_json", shape="{oops")
    lost = onnx.load(str(path))
    weight = next(each for each in lost.graph.initializer if each.name.endswith("bias"))
    weight.CopyFrom(onnx.numpy_helper.from_array(np.full(weight.dims, np.nan, np.float32), weight.name))
    onnx.save(lost, str(tmp_path / "lost.onnx"))
    model = onnx.load(str(path))
    del model.metadata_props[:]
    onnx.save(model, str(tmp_path / "foreign.onnx"))
    (tmp_path / "cut.onnx").write_bytes(path.read_bytes()[:5000])
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "folder.onnx").mkdir()
    cv2.imwrite(str(tmp_path / "frame.png"), np.random.default_rng(0).integers(0, 255, size, np.uint8))
    quantize(path, tmp_path / "int8.onnx", [tmp_path / "frame.png"])
    for name, message in (
        ("foreign", "only from what `python tools/train export` wrote"),
        ("cut", "no ONNX file"),
        ("empty", "no ONNX file"),
        ("folder", "no ONNX file"),
        ("wide", "not of its network"),
        ("no_shape", "not of its network"),
        ("list", "not of its network"),
        ("no_json", "not of its network"),
        ("lost", "not finite"),
        ("int8", "of 16 or 32 bits"),
    ):
        with pytest.raises(ValueError, match=f"{name}.onnx: .*{message}"):
            stored(tmp_path / f"{name}.onnx")


def test_training_begins_with_a_half_precision_version(network, tmp_path):
    path, half = tmp_path / "model.onnx", tmp_path / "half.onnx"
    export(network, path, SIZE)
    subprocess.run([sys.executable, ROOT / "tools/onnx-fp16", path, half], check=True)
    whole, again = (stored(each).folded.state_dict() for each in (path, half))
    assert all(torch.allclose(value, again[name], atol=1e-2) for name, value in whole.items() if not name.startswith("dense."))
