"""Requests, good and bad, that a real tritonserver (oip_goldens.py) and cellsegd (test_oip.py) are both asked."""

import grpc
import numpy as np
from google.protobuf import json_format
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

HEIGHT, WIDTH = 24, 32
OUTPUTS = ["LABELS", "BOXES", "SCORES", "CLASSES", "RLE", "TRACKS", "COUNT", "CONFLUENCE"]
PATIENCE = 20


def frame(**over) -> pb.ModelInferRequest.InferInputTensor:
    given = {"name": "FRAME", "datatype": "UINT16", "shape": [HEIGHT, WIDTH], **over}
    contents = given.pop("contents", None)
    parameters = given.pop("parameters", {})
    tensor = pb.ModelInferRequest.InferInputTensor(**given)
    if contents is not None:
        tensor.contents.CopyFrom(contents)
    set_all(tensor.parameters, parameters)
    return tensor


def set_all(parameters, values: dict) -> None:
    for name, value in values.items():
        kind = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}[type(value)]
        setattr(parameters[name], kind, value)


def pixels(n: int = HEIGHT * WIDTH, dtype=np.uint16) -> bytes:
    return np.full(n, 103, dtype).tobytes()


def request(*, model="plain", version="", id="7", inputs=None, raw=None, outputs=None, parameters=None) -> pb.ModelInferRequest:
    asked = pb.ModelInferRequest(model_name=model, model_version=version, id=id)
    asked.inputs.extend([frame()] if inputs is None else inputs)
    asked.raw_input_contents.extend([pixels()] if raw is None else raw)
    for output in OUTPUTS if outputs is None else outputs:
        asked.outputs.add(name=output) if isinstance(output, str) else asked.outputs.append(output)
    set_all(asked.parameters, parameters or {})
    return asked


def output(name: str, **parameters) -> pb.ModelInferRequest.InferRequestedOutputTensor:
    tensor = pb.ModelInferRequest.InferRequestedOutputTensor(name=name)
    set_all(tensor.parameters, parameters)
    return tensor


def typed(values) -> pb.InferTensorContents:
    return pb.InferTensorContents(uint_contents=values)


def sequence(number, *, start=False, end=False, **over) -> pb.ModelInferRequest:
    parameters = {"sequence_id": number, "sequence_start": start, "sequence_end": end}
    return request(model="series", parameters=parameters, **over)


SHARED = {"shared_memory_region": "nobody", "shared_memory_byte_size": 2 * HEIGHT * WIDTH}
UNARY = {
    "a good frame": request(),
    "some outputs": request(outputs=["SCORES", "BOXES"]),
    "typed contents": request(inputs=[frame(contents=typed([103] * (HEIGHT * WIDTH)))], raw=[]),
    "of version 1": request(version="1"),
    "an unknown model": request(model="nobody"),
    "no model": request(model=""),
    "an unknown version": request(version="99"),
    "a version that is no number": request(version="latest"),
    "no input": request(inputs=[], raw=[]),
    "two inputs": request(inputs=[frame(), frame(name="MORE")], raw=[pixels(), pixels()]),
    "the same input twice": request(inputs=[frame(), frame()], raw=[pixels(), pixels()]),
    "an unknown input": request(inputs=[frame(name="IMAGE")]),
    "a wrong datatype": request(inputs=[frame(datatype="FP32")], raw=[pixels(dtype=np.float32)]),
    "no such datatype": request(inputs=[frame(datatype="PIXELS")]),
    "no datatype": request(inputs=[frame(datatype="")]),
    "no shape": request(inputs=[frame(shape=[])]),
    "four dimensions": request(inputs=[frame(shape=[1, 1, HEIGHT, WIDTH])]),
    "a negative side": request(inputs=[frame(shape=[-1, WIDTH])]),
    "a huge shape": request(inputs=[frame(shape=[2**62, 4])]),
    "a shape that overflows": request(inputs=[frame(shape=[2**32, 2**32])]),
    "too few bytes": request(raw=[pixels()[:-1]]),
    "too many bytes": request(raw=[pixels() + b"\0"]),
    "neither raw nor contents": request(raw=[]),
    "both raw and contents": request(inputs=[frame(contents=typed([103] * (HEIGHT * WIDTH)))]),
    "more raw than inputs": request(raw=[pixels(), pixels()]),
    "too few values": request(inputs=[frame(contents=typed([103]))], raw=[]),
    "values of another type": request(inputs=[frame(contents=pb.InferTensorContents(fp32_contents=[1.0]))], raw=[]),
    "an unknown output": request(outputs=["MASKS"]),
    "an unregistered region": request(inputs=[frame(parameters=SHARED)], raw=[]),
    "an output into an unregistered region": request(outputs=[output("BOXES", **SHARED)]),
    "shared memory and raw": request(inputs=[frame(parameters=SHARED)]),
}
SERIES = {
    "a sequence": [sequence(5, start=True), sequence(5), sequence(5, end=True)],
    "a sequence by a word": [sequence("well B03", start=True), sequence("well B03", end=True)],
    "a sequence that did not start": [sequence(6)],
    "a sequence after its end": [sequence(7, start=True, end=True), sequence(7)],
    "a sequence that starts again": [sequence(8, start=True), sequence(8, start=True), sequence(8, end=True)],
}
STREAMS = {
    "good, bad, good": [request(id="a"), request(id="b", inputs=[frame(name="IMAGE")]), request(id="c")],
    "an unknown model in a stream": [request(id="a", model="nobody"), request(id="b")],
    "final responses": [request(id="a", outputs=["COUNT"], parameters={"triton_enable_empty_final_response": True})],
}
# Model calls that fail, and memory.
OTHERS = {
    "metadata of an unknown model": ("ModelMetadata", pb.ModelMetadataRequest(name="nobody")),
    "configuration of an unknown model": ("ModelConfig", pb.ModelConfigRequest(name="nobody")),
    "statistics of an unknown model": ("ModelStatistics", pb.ModelStatisticsRequest(name="nobody")),
    "an unknown model is not ready": ("ModelReady", pb.ModelReadyRequest(name="nobody")),
    "a version that is not there is not ready": ("ModelReady", pb.ModelReadyRequest(name="plain", version="99")),
    "metadata of a version that is not there": ("ModelMetadata", pb.ModelMetadataRequest(name="plain", version="99")),
    "status of an unregistered region": ("SystemSharedMemoryStatus", pb.SystemSharedMemoryStatusRequest(name="nobody")),
    "an unregistered region given up": ("SystemSharedMemoryUnregister", pb.SystemSharedMemoryUnregisterRequest(name="nobody")),
    "all regions given up": ("SystemSharedMemoryUnregister", pb.SystemSharedMemoryUnregisterRequest()),
    "memory that is not there": (
        "SystemSharedMemoryRegister",
        pb.SystemSharedMemoryRegisterRequest(name="r", key="/cellsegd-is-not-there", byte_size=10),
    ),
}


class Asker:
    """Puts the cases to a server, whose models for frames and for series have these names."""

    def __init__(self, address: str, plain: str, series: str):
        options = [("grpc.max_receive_message_length", -1)]
        self.channel = grpc.insecure_channel(address, options=options)
        self.stub = service_pb2_grpc.GRPCInferenceServiceStub(self.channel)
        self.names = {"plain": plain, "series": series}

    def all(self) -> dict:
        told = {name: self.call("ModelInfer", asked) for name, asked in UNARY.items()}
        told |= {name: [self.call("ModelInfer", one) for one in asked] for name, asked in SERIES.items()}
        told |= {name: self.stream(asked) for name, asked in STREAMS.items()}
        told |= {name: self.call(method, asked) for name, (method, asked) in OTHERS.items()}
        return told

    def named(self, asked):
        """The request with this server's names."""
        copy = type(asked)()
        copy.CopyFrom(asked)
        field = "model_name" if isinstance(asked, pb.ModelInferRequest) else "name"
        name = getattr(asked, field, None)
        if name in self.names:
            setattr(copy, field, self.names[name])
        return copy

    def call(self, method: str, asked) -> dict:
        try:
            return told(getattr(self.stub, method)(self.named(asked), timeout=PATIENCE))
        except grpc.RpcError as error:
            return {"code": error.code().name, "message": error.details()}

    def stream(self, asked) -> list:
        heard = []
        try:
            for answer in self.stub.ModelStreamInfer(map(self.named, asked), timeout=PATIENCE):
                heard.append({"error": answer.error_message, **told(answer.infer_response)})
        except grpc.RpcError as error:
            heard.append({"code": error.code().name, "message": error.details()})
        return heard


def told(answer) -> dict:
    """What matters of an answer: no values, no bytes."""
    if not isinstance(answer, pb.ModelInferResponse):
        return {"answer": json_format.MessageToDict(answer)}
    outputs = {
        output.name: {"datatype": output.datatype, "dimensions": len(output.shape), "parameters": sorted(output.parameters)}
        for output in answer.outputs
    }
    return {
        "id": answer.id,
        "has_model": [bool(answer.model_name), bool(answer.model_version)],
        "outputs": outputs,
        "raw": len(answer.raw_output_contents),
        "final": answer.parameters["triton_final_response"].bool_param if "triton_final_response" in answer.parameters else None,
    }
