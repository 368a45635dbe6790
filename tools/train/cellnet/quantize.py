"""An 8-bit version: static quantization with frames to calibrate on, as QuantizeLinear and DequantizeLinear nodes (QDQ).

Weights by channel, activations symmetric around zero, both int8: what TensorRT takes, and what ONNX Runtime runs. The last
convolutions, which give boxes, scores, coefficients and prototypes, and what follows them stay in float: a box of 600 pixels has no
room in 8 bits, and they cost little. Weights are those of the float file; nothing is trained again.
"""

from pathlib import Path

import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from cellnet.frames import network_input, read


class Frames(CalibrationDataReader):
    """Frames for calibration, as the network sees them."""

    def __init__(self, paths: list[Path], side: int):
        self.side = side
        self.left = iter(paths)

    def get_next(self) -> dict | None:
        path = next(self.left, None)
        return None if path is None else {"images": network_input(read(path), self.side)}


def quantize(model: Path, out: Path, paths: list[Path]) -> None:
    """Writes the QDQ version of `model`, a file with a fixed input size."""
    if out.resolve() == model.resolve():
        raise ValueError(f"{out}: would replace the file that it is made of")
    prepared = out.with_suffix(".prepared.onnx")
    try:
        quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
        graph = onnx.load(str(prepared))
        side, width = (dim.dim_value for dim in graph.graph.input[0].type.tensor_type.shape.dim[2:])
        if not side or side != width:
            raise ValueError(f"{model}: its input is {side or 'any'} x {width or 'any'}, wanted a fixed square one")
        quantize_static(
            str(prepared),
            str(out),
            Frames(paths, side),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "MaxPool", "Resize", "Concat", "Add"],
            nodes_to_exclude=last_nodes(graph),
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "CalibMovingAverage": True},
        )
    finally:
        prepared.unlink(missing_ok=True)
    quantized = onnx.load(str(out))
    onnx.helper.set_model_props(quantized, {prop.key: prop.value for prop in onnx.load(str(model)).metadata_props})
    onnx.save(quantized, str(out))


def last_nodes(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes after which no activation follows: the last convolutions and what comes behind them."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    activated: dict[str, bool] = {}

    def leads_to_activation(node: onnx.NodeProto) -> bool:
        if node.name not in activated:
            activated[node.name] = node.op_type == "Relu" or any(
                leads_to_activation(reader) for output in node.output for reader in readers.get(output, [])
            )
        return activated[node.name]

    return [node.name for node in reversed(model.graph.node) if not leads_to_activation(node)][::-1]
