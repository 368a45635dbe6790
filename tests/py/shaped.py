"""Networks of the layouts that YOLOv8, v9 and 11 export for segmentation, with random weights: small, with each one's odd layers."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BINS, PROTOTYPES = 16, 32
STRIDES = (8, 16, 32)
CLASSES = ["cell", "nucleus"]
WIDTH = 16


class Network:
    """Nodes and weights so far; each method adds a layer and returns the name of its output."""

    def __init__(self, seed=0):
        self.nodes, self.weights = [], []
        self.random = np.random.default_rng(seed)

    def node(self, kind, *inputs, n_outputs=1, **attributes):
        outputs = [f"{kind}_{len(self.nodes)}_{i}" for i in range(n_outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), outputs, **attributes))
        return outputs[0] if n_outputs == 1 else outputs

    def constant(self, values, dtype=np.float32):
        name = f"w_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def conv(self, x, inputs, outputs, kernel=1, stride=1, group=1, act=True):
        shape = (outputs, inputs // group, kernel, kernel)
        weight = self.constant(self.random.normal(0, 1 / np.sqrt(inputs * kernel**2 / group), shape))
        bias = self.constant(np.zeros(outputs))
        pads = [kernel // 2] * 4
        y = self.node("Conv", x, weight, bias, strides=[stride] * 2, pads=pads, group=group)
        return self.node("Mul", y, self.node("Sigmoid", y)) if act else y

    def pool(self, x, kind, kernel, stride):
        return self.node(kind, x, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[kernel // 2] * 4)

    def reshape(self, x, *shape):
        return self.node("Reshape", x, self.constant(shape, np.int64))

    def up(self, x):
        return self.node("Resize", x, "", self.constant([1, 1, 2, 2]), mode="nearest")


def bottom(net, version, x):
    """What each version is known for, at a stride of 32."""
    if version == "v8":  # SPPF
        pooled = [x]
        for _ in range(3):
            pooled.append(net.pool(pooled[-1], "MaxPool", 5, 1))
        return net.conv(net.node("Concat", *pooled, axis=1), 4 * WIDTH, WIDTH)
    if version == "v9":  # average and maximum side by side
        return net.conv(
            net.node("Concat", net.pool(x, "AveragePool", 3, 1), net.pool(x, "MaxPool", 3, 1), axis=1), 2 * WIDTH, WIDTH
        )
    # Attention over places.
    flat = net.reshape(x, 0, WIDTH, -1)
    weights = net.node("Softmax", net.node("MatMul", net.node("Transpose", flat, perm=[0, 2, 1]), flat), axis=-1)
    attended = net.node("MatMul", flat, net.node("Transpose", weights, perm=[0, 2, 1]))
    return net.node("Add", x, net.node("Reshape", attended, net.node("Shape", x)))


def write(path: Path, version: str, side: int = 320, batch: int | None = 1) -> Path:
    """`batch` None: dynamic."""
    net = Network()
    x = net.conv(net.conv("images", 3, WIDTH, 3, 2), WIDTH, WIDTH, 3, 2)
    quarter, levels = x, []
    for _ in STRIDES:
        x = net.conv(x, WIDTH, WIDTH, 3, 2)
        levels.append(x)
    levels[2] = bottom(net, version, levels[2])
    for i in (1, 0):
        joined = net.node("Concat", levels[i], net.up(levels[i + 1]), axis=1)
        levels[i] = net.conv(joined, 2 * WIDTH, WIDTH, 3)

    boxes, scores, coefficients = [], [], []
    for level in levels:
        # 11 has depthwise convolutions there.
        before = net.conv(level, WIDTH, WIDTH, 3, group=WIDTH if version == "11" else 1)
        boxes.append(net.reshape(net.conv(before, WIDTH, 4 * BINS, act=False), 0, 4 * BINS, -1))
        scores.append(net.reshape(net.conv(before, WIDTH, len(CLASSES), act=False), 0, len(CLASSES), -1))
        coefficients.append(net.reshape(net.conv(before, WIDTH, PROTOTYPES, act=False), 0, PROTOTYPES, -1))
    bins = net.reshape(net.node("Concat", *boxes, axis=2), 0, 4, BINS, -1)
    bins = net.node("Softmax", net.node("Transpose", bins, perm=[0, 2, 1, 3]), axis=1)
    mean = net.constant(np.arange(BINS).reshape(1, BINS, 1, 1))
    sides = net.reshape(net.node("Conv", bins, mean), 0, 4, -1)
    near, far = net.node("Split", sides, net.constant([2, 2], np.int64), n_outputs=2, axis=1)
    sizes = [side // stride for stride in STRIDES]
    places = [np.stack(np.meshgrid(np.arange(n) + 0.5, np.arange(n) + 0.5)).reshape(2, -1) for n in sizes]
    anchors = net.constant(np.concatenate(places, axis=1)[None])
    strides = net.constant(np.concatenate([np.full(n * n, stride) for n, stride in zip(sizes, STRIDES)])[None, None])
    low, high = net.node("Sub", anchors, near), net.node("Add", anchors, far)
    middle = net.node("Div", net.node("Add", low, high), net.constant(2))
    box = net.node("Mul", net.node("Concat", middle, net.node("Sub", high, low), axis=1), strides)
    score = net.node("Sigmoid", net.node("Concat", *scores, axis=2))
    detections = net.node("Concat", box, score, net.node("Concat", *coefficients, axis=2), axis=1)
    net.nodes[-1].output[0] = "output0"

    prototypes = net.conv(net.node("Add", quarter, net.up(levels[0])), WIDTH, PROTOTYPES, 3, act=version != "v8")
    kernel = net.constant(net.random.normal(0, 0.1, (PROTOTYPES, PROTOTYPES, 1, 1)))
    net.node("ConvTranspose", prototypes, kernel)
    net.nodes[-1].output[0] = "output1"

    def tensor(name, *dims):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch or "batch", *dims])

    assert detections
    n_anchors = sum(n * n for n in sizes)
    graph = helper.make_graph(
        net.nodes,
        version,
        [tensor("images", 3, side, side)],
        [
            tensor("output0", 4 + len(CLASSES) + PROTOTYPES, n_anchors),
            tensor("output1", PROTOTYPES, side // 4, side // 4),
        ],
        net.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for key, value in {"task": "segment", "names": str(dict(enumerate(CLASSES))), "imgsz": str([side, side])}.items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path
