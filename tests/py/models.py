"""Networks small enough to make in a test: real YOLO-seg contracts whose answer follows the brightness of the frame."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 64
CLASSES = ["cell", "nucleus"]
# An anchor for each 16 x 16 cell of the input, a prototype for each 4 x 4.
STRIDE, PROTOTYPE = 16, 4
COEFFICIENTS = 2


def tiny(path: Path, end_to_end: bool = False, metadata: bool = True) -> Path:
    """Writes a network that sees bright things: boxes grow and scores rise with brightness, masks are where it is over a half.

    One convolution makes `output0`, another one the prototypes; `end_to_end` gives corners, one score and its class instead.
    """
    n = SIDE // STRIDE
    rows = _rows_end_to_end() if end_to_end else _rows()
    weights = np.zeros((len(rows), 3, STRIDE, STRIDE), np.float32)
    bias = np.zeros(len(rows), np.float32)
    for i, (left, right, constant) in enumerate(rows):
        # Mean brightness of the left and of the right half of the anchor's cell, weighted.
        weights[i, :, :, : STRIDE // 2] = left / (3 * STRIDE * STRIDE / 2)
        weights[i, :, :, STRIDE // 2 :] = right / (3 * STRIDE * STRIDE / 2)
        bias[i] = constant
    centre = np.arange(n) * STRIDE + STRIDE / 2
    offsets = np.zeros((1, len(rows), n, n), np.float32)
    offsets[0, 0] = centre[None, :]
    offsets[0, 1] = centre[:, None]
    if end_to_end:
        offsets[0, 2], offsets[0, 3] = offsets[0, 0], offsets[0, 1]

    prototypes = np.zeros((COEFFICIENTS, 3, PROTOTYPE, PROTOTYPE), np.float32)
    prototypes[0] = 1 / (3 * PROTOTYPE * PROTOTYPE)
    prototype_bias = np.array([-0.5, 1.0], np.float32)

    # Scores pass a sigmoid, the rest does not.
    scores = slice(4, 5) if end_to_end else slice(4, 4 + len(CLASSES))
    splits = [scores.start, scores.stop - scores.start, len(rows) - scores.stop]
    nodes = [
        helper.make_node("Conv", ["images", "w", "b"], ["linear"], kernel_shape=[STRIDE] * 2, strides=[STRIDE] * 2),
        helper.make_node("Add", ["linear", "offsets"], ["placed"]),
        helper.make_node("Reshape", ["placed", "flat"], ["flattened"]),
        helper.make_node("Split", ["flattened", "splits"], ["boxes", "logits", "rest"], axis=1),
        helper.make_node("Sigmoid", ["logits"], ["scores"]),
        helper.make_node("Concat", ["boxes", "scores", "rest"], ["joined"], axis=1),
        helper.make_node("Transpose", ["joined"], ["output0"], perm=[0, 2, 1] if end_to_end else [0, 1, 2]),
        helper.make_node(
            "Conv", ["images", "pw", "pb"], ["output1"], kernel_shape=[PROTOTYPE] * 2, strides=[PROTOTYPE] * 2
        ),
    ]
    initializers = {
        "w": weights,
        "b": bias,
        "offsets": offsets,
        "flat": np.array([1, len(rows), n * n], np.int64),
        "splits": np.array(splits, np.int64),
        "pw": prototypes,
        "pb": prototype_bias,
    }
    shape = [1, n * n, len(rows)] if end_to_end else [1, len(rows), n * n]
    prototype_shape = [1, COEFFICIENTS, SIDE // PROTOTYPE, SIDE // PROTOTYPE]
    return _save(path, nodes, initializers, {"output0": shape, "output1": prototype_shape}, metadata)


def _rows() -> list[tuple[float, float, float]]:
    """cx, cy, w, h, a score for each class, coefficients; each as (left, right, constant)."""
    box = [(0, 0, 0), (0, 0, 0), (8, 8, 20), (6, 10, 20)]
    scores = [(6, 3, -4), (2, 7, -4.5)]
    return box + scores + [(2, 2, 6), (0.2, -0.2, 0.1)]


def _rows_end_to_end() -> list[tuple[float, float, float]]:
    """x1, y1, x2, y2, score, class, coefficients."""
    box = [(-4, -4, -10), (-3, -5, -10), (4, 4, 10), (3, 5, 10)]
    return box + [(5, 5, -4.5), (0, 0, 1)] + [(2, 2, 6), (0.2, -0.2, 0.1)]


def wrong_head(path: Path) -> Path:
    """A classifier: one output of the wrong shape."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["output0"]),
    ]
    return _save(path, nodes, {}, {"output0": [1, 3]}, metadata=True)


def _save(path: Path, nodes, initializers, outputs, metadata: bool) -> Path:
    tensor = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)  # noqa: E731
    graph = helper.make_graph(
        nodes,
        "tiny",
        [tensor("images", [1, 3, SIDE, SIDE])],
        [tensor(name, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in initializers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if metadata:
        names = dict(enumerate(CLASSES))
        helper.set_model_props(
            model, {"names": repr(names), "imgsz": repr([SIDE, SIDE]), "stride": str(STRIDE), "task": "segment"}
        )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path
