"""The network and its ONNX files keep the contract, and say the same."""

import onnx
import onnxruntime
import pytest
import torch
from cellnet import commands
from cellnet.contract import CLASSES
from cellnet.export import OPSET, export
from cellnet.network import SHAPES, Network, anchors, boxes_of, fused

SIZE = (96, 128)


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
