"""Weights stored in half the bytes. The network still computes in float32: each large weight is a float16 with a Cast behind it,
which every engine folds when it loads the file."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MOST = 65504.0

LEAST = 1024
"""Weights of fewer values stay as they are: biases among them, which is where rounding would move outlines."""


def store_half(model: onnx.ModelProto) -> None:
    """Changes `model`. A weight beyond float16's range is a ValueError."""
    graph = model.graph
    casts = []
    for weight in graph.initializer:
        if weight.data_type != TensorProto.FLOAT or np.prod(weight.dims) < LEAST:
            continue
        values = numpy_helper.to_array(weight)
        most = float(np.abs(values).max())
        if not most <= MOST:
            raise ValueError(f"{weight.name}: {most} is too large for half precision, whose most is {MOST:g}")
        casts.append(helper.make_node("Cast", [f"{weight.name}.half"], [weight.name], f"{weight.name}.cast", to=TensorProto.FLOAT))
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{weight.name}.half"))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
