"""The Open Inference Protocol's door, by the clients that its users have: tritonclient, blocking and asyncio; and held against what a
real tritonserver answers to the same good and bad requests (data/oip/triton.json, made by oip_goldens.py)."""

import asyncio
import json
import os
import queue
import subprocess
import uuid
from pathlib import Path

import grpc
import numpy as np
import oip_cases
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from client import raw
from contract import ROOT, pb
from daemon import Daemon
from frames import demo_frame, discs
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException, shared_memory

PATIENCE = 60
GOLDEN = json.loads((ROOT / "tests/data/oip/triton.json").read_text())
MODEL = "tiny"
PILOT = "cells_640"

# Where this daemon is meant to be stricter or plainer than Triton.
OURS = {
    # Triton reads the first and throws the rest away.
    "more raw than inputs": "INVALID_ARGUMENT",
    # A model that is not there is not there, whatever is asked of it.
    "statistics of an unknown model": "NOT_FOUND",
    # Nothing is said of what lies in /dev/shm unless the settings allow its name.
    "memory that is not there": "PERMISSION_DENIED",
    # Said before anything is looked up: the request cannot be meant.
    "shared memory and raw": "INVALID_ARGUMENT",
}


@pytest.fixture(scope="module")
def memory_daemon(tmp_path_factory, settings) -> Daemon:
    """One that takes frames from shared memory."""
    folder = tmp_path_factory.mktemp("oip")
    with Daemon(folder, settings + '[shared_memory]\nkeys = ["/cellsegd-test-*"]\n', unix=True) as daemon:
        yield daemon


@pytest.fixture
def client(daemon):
    with triton.InferenceServerClient(daemon.address) as client:
        yield client


def frame(image: np.ndarray) -> triton.InferInput:
    tensor = triton.InferInput("FRAME", image.shape, "UINT8" if image.dtype == np.uint8 else "UINT16")
    tensor.set_data_from_numpy(image)
    return tensor


def outputs(*names: str) -> list[triton.InferRequestedOutput]:
    return [triton.InferRequestedOutput(name) for name in names]


def same_cells(result: triton.InferResult, reply: pb.FrameReply):
    """The tensors are those of the contract's answer, bit for bit."""
    instances = reply.segmentation.instances
    assert len(instances) > 0
    boxes = [[cell.box.x0, cell.box.y0, cell.box.x1, cell.box.y1] for cell in instances]
    np.testing.assert_array_equal(result.as_numpy("BOXES"), np.array(boxes, np.float32))
    np.testing.assert_array_equal(result.as_numpy("SCORES"), np.array([cell.score for cell in instances], np.float32))
    assert result.as_numpy("CLASSES").tolist() == [cell.class_index for cell in instances]
    assert result.as_numpy("RLE").tolist() == [cell.rle.counts for cell in instances]
    assert result.as_numpy("COUNT").tolist() == [reply.segmentation.summary.count]
    assert result.as_numpy("CONFLUENCE").tolist() == [reply.segmentation.summary.confluence]


def test_a_server_tells_what_it_is(client):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready(PILOT) and not client.is_model_ready("nobody")
    server = client.get_server_metadata()
    assert server.name == "cellsegd" and "statistics" in server.extensions
    model = client.get_model_metadata(PILOT)
    assert [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in model.inputs] == [("FRAME", "UINT16", [-1, -1])]
    assert [tensor.name for tensor in model.outputs] == oip_cases.OUTPUTS
    config = client.get_model_config(PILOT).config
    assert config.max_batch_size == 0 and not config.model_transaction_policy.decoupled
    assert config.parameters["classes"].string_value == "cell,nucleus"
    index = client.get_model_repository_index()
    assert [(model.name, model.version, model.state) for model in index.models] == [(PILOT, "1", "READY"), (MODEL, "1", "READY")]


def test_cells_are_those_of_the_contract(daemon, client):
    image = demo_frame()
    options = pb.SessionOptions(model=PILOT, outputs=pb.Outputs(label_image=True, label_compression=pb.COMPRESSION_NONE))
    reply = daemon.stub().Segment(pb.SegmentRequest(options=options, frame=raw(image)), timeout=PATIENCE).frame
    result = client.infer(PILOT, [frame(image)], outputs=outputs(*oip_cases.OUTPUTS))
    same_cells(result, reply)
    labels = np.frombuffer(reply.segmentation.label_image.data, np.uint16).reshape(image.shape)
    np.testing.assert_array_equal(result.as_numpy("LABELS"), labels)
    told = result.get_response().parameters
    assert 0 < told["infer_us"].int64_param < told["total_us"].int64_param


@pytest.mark.parametrize("shape", [(64, 64), (97, 131), (64, 64, 3)])
def test_frames_of_every_kind(daemon, client, shape):
    image = discs(shape[1], shape[0], seed=3)
    if len(shape) == 3:
        image = np.repeat(image[..., None], 3, axis=2)
    result = client.infer(MODEL, [frame(image)], outputs=outputs("LABELS", "COUNT"))
    assert result.as_numpy("LABELS").shape == shape[:2]
    assert result.as_numpy("COUNT")[0] == result.as_numpy("LABELS").max() > 0


def test_no_cells_are_empty_tensors(client):
    result = client.infer(MODEL, [frame(np.zeros((40, 50), np.uint16))])
    assert result.as_numpy("BOXES").shape == (0, 4)
    assert result.as_numpy("RLE").shape == (0,) and result.as_numpy("COUNT").tolist() == [0]


def test_options_are_parameters(client):
    image = frame(discs(160, 120, seed=1))
    every = client.infer(MODEL, [image]).as_numpy("SCORES")
    few = client.infer(MODEL, [image], parameters={"confidence": float(every[0]) - 1e-4, "pixel_size_um": 0.5}).as_numpy("SCORES")
    assert 0 < len(few) < len(every) or len(every) == 1
    one = client.infer(MODEL, [image], parameters={"max_cells": 1}).as_numpy("SCORES")
    assert one.tolist() == every[:1].tolist()
    for wrong, part in [
        ({"confidense": 0.5}, "understood are confidence"),
        ({"confidence": 2.0}, "confidence 2"),
        ({"pixel_size_um": -1.0}, "pixel_size_um -1"),
        ({"classes": "77"}, "77"),
    ]:
        with pytest.raises(InferenceServerException, match=part) as told:
            client.infer(MODEL, [image], parameters=wrong)
        assert told.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_a_notice_comes_along(client):
    result = client.infer(MODEL, [frame(discs(64, 64))], parameters={"min_area_um2": 1.0})
    assert "NO_PIXEL_SIZE: " in result.get_response().parameters["notices"].string_param


@pytest.mark.parametrize("number", [12, "scope 2, B03"])
def test_a_sequence_keeps_identities(client, number):
    image = frame(discs(128, 128, seed=5))
    tracks = []
    for n in range(4):
        over = {"sequence_id": number, "sequence_start": n == 0, "sequence_end": n == 3}
        result = client.infer(MODEL, [image], parameters={"track": True, "t": n}, **over)
        tracks.append(result.as_numpy("TRACKS").tolist())
    assert 0 < min(tracks[0]) and all(each == tracks[0] for each in tracks), tracks
    with pytest.raises(InferenceServerException, match="must specify the START flag"):
        client.infer(MODEL, [image], sequence_id=number)


def test_a_stream_with_a_bad_request_in_it(daemon, client):
    heard = queue.Queue()
    client.start_stream(callback=lambda result, error: heard.put((result, error)))
    images = [discs(96, 64, seed=seed) for seed in range(6)]
    for n, image in enumerate(images):
        client.async_stream_infer(MODEL, [frame(image)], request_id=str(n))
    client.async_stream_infer("nobody", [frame(images[0])], request_id="bad")
    client.async_stream_infer(MODEL, [frame(images[0])], request_id="last")
    answers = [heard.get(timeout=PATIENCE) for _ in range(8)]
    client.stop_stream()
    ids = [result.get_response().id for result, error in answers if error is None]
    assert ids == ["0", "1", "2", "3", "4", "5", "last"]
    assert "[request id: bad] Request for unknown model" in str(answers[6][1])
    first, last = answers[0][0], answers[7][0]
    np.testing.assert_array_equal(first.as_numpy("BOXES"), last.as_numpy("BOXES"))
    assert first.get_response().parameters["triton_final_response"].bool_param


def test_asyncio_unary_and_stream(daemon):
    async def ask():
        async with triton_aio.InferenceServerClient(daemon.address) as client:
            image = frame(discs(96, 64, seed=2))
            every = await asyncio.gather(*(client.infer(MODEL, [image], request_id=str(n)) for n in range(8)))

            async def requests():
                for n in range(8):
                    yield {"model_name": MODEL, "inputs": [image], "request_id": f"s{n}"}

            streamed = [answer async for answer in client.stream_infer(requests())]
            return every, streamed

    every, streamed = asyncio.run(asyncio.wait_for(ask(), PATIENCE))
    assert [result.get_response().id for result in every] == [str(n) for n in range(8)]
    assert [result.get_response().id for result, _ in streamed] == [f"s{n}" for n in range(8)]
    assert all(error is None for _, error in streamed)
    boxes = every[0].as_numpy("BOXES")
    assert all(np.array_equal(result.as_numpy("BOXES"), boxes) for result in [*every, *(result for result, _ in streamed)])


def test_the_log_tells_of_sessions_not_of_every_frame(daemon, client):
    image = frame(discs(64, 64))
    single = client.infer(MODEL, [image])
    heard = queue.Queue()
    client.start_stream(callback=lambda result, error: heard.put((result, error)))
    client.async_stream_infer(MODEL, [image])
    streamed, error = heard.get(timeout=PATIENCE)
    client.stop_stream()
    assert error is None
    single, streamed = (result.get_response().parameters["session"].string_param for result in (single, streamed))
    log = daemon.log.read_text()
    assert f"session={streamed}" in log
    assert single not in log


def test_callbacks(client):
    heard = queue.Queue()
    image = frame(discs(96, 64, seed=2))
    for n in range(8):
        client.async_infer(MODEL, [image], callback=lambda result, error: heard.put((result, error)), request_id=str(n))
    answers = [heard.get(timeout=PATIENCE) for _ in range(8)]
    assert sorted(result.get_response().id for result, error in answers if error is None) == [str(n) for n in range(8)]


def test_a_unix_socket(daemon):
    # As other gRPC clients of C's core, it needs a host's name where HTTP/2 wants one.
    options = [("grpc.default_authority", "localhost")]
    with triton.InferenceServerClient(f"unix:{daemon.socket}", channel_args=options) as client:
        assert client.infer(MODEL, [frame(discs(64, 64))]).as_numpy("COUNT")[0] > 0


def test_a_client_that_does_not_wait(daemon, client):
    with pytest.raises(InferenceServerException) as told:
        client.infer(PILOT, [frame(demo_frame())], client_timeout=0.005)
    # The server keeps the deadline too; on a busy machine its word for it (tonic's `Cancelled`) may come before the client's own.
    assert told.value.status() in ("StatusCode.DEADLINE_EXCEEDED", "StatusCode.CANCELLED")
    # The next one is answered all the same.
    assert client.infer(MODEL, [frame(discs(64, 64))]).as_numpy("COUNT")[0] > 0


class Region:
    """A region in /dev/shm, as tritonclient makes it."""

    def __init__(self, n_bytes: int):
        self.key = f"/cellsegd-test-{uuid.uuid4().hex}"
        self.size = n_bytes
        self.handle = shared_memory.create_shared_memory_region("test", self.key, n_bytes)
        self.file = Path("/dev/shm") / self.key[1:]
        # Both sides may write.
        os.chmod(self.file, 0o666)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shared_memory.destroy_shared_memory_region(self.handle)


@pytest.fixture
def memory_client(memory_daemon):
    with triton.InferenceServerClient(memory_daemon.address) as client:
        yield client
        client.unregister_system_shared_memory()


def test_frames_and_outputs_in_shared_memory(memory_client):
    client = memory_client
    image = demo_frame()
    sent = client.infer(PILOT, [frame(image)], outputs=outputs("LABELS", "BOXES"))
    with Region(image.nbytes + 4096) as there, Region(image.nbytes + 64) as back:
        shared_memory.set_shared_memory_region(there.handle, [image], offset=4096)
        client.register_system_shared_memory("there", there.key, there.size)
        client.register_system_shared_memory("back", back.key, back.size)
        told = client.get_system_shared_memory_status()
        assert {name: region.byte_size for name, region in told.regions.items()} == {"there": there.size, "back": back.size}
        tensor = triton.InferInput("FRAME", image.shape, "UINT16")
        tensor.set_shared_memory("there", image.nbytes, offset=4096)
        wanted = outputs("LABELS", "BOXES")
        wanted[0].set_shared_memory("back", image.nbytes, offset=64)
        result = client.infer(PILOT, [tensor], outputs=wanted)
        assert result.as_numpy("BOXES").tolist() == sent.as_numpy("BOXES").tolist()
        output = result.get_output("LABELS")
        assert output.parameters["shared_memory_region"].string_param == "back"
        labels = shared_memory.get_contents_as_numpy(back.handle, np.uint16, image.shape, offset=64)
        np.testing.assert_array_equal(labels, sent.as_numpy("LABELS"))

        # A stream's frames, too.
        heard = queue.Queue()
        client.start_stream(callback=lambda result, error: heard.put((result, error)))
        client.async_stream_infer(PILOT, [tensor], outputs=outputs("BOXES"), request_id="1")
        result, error = heard.get(timeout=PATIENCE)
        client.stop_stream()
        assert error is None and result.as_numpy("BOXES").tolist() == sent.as_numpy("BOXES").tolist()

        client.unregister_system_shared_memory("there")
        with pytest.raises(InferenceServerException, match="Unable to find system shared memory region: 'there'"):
            client.infer(PILOT, [tensor])


def test_shared_memory_that_cannot_be_meant(memory_client):
    client = memory_client
    image = discs(64, 64)

    def refused(status: str, part: str, call, *arguments, **named):
        with pytest.raises(InferenceServerException, match=part) as told:
            call(*arguments, **named)
        assert told.value.status() == f"StatusCode.{status}", told.value
        assert "/dev/shm" not in str(told.value)

    def tensor(region: str, n_bytes: int, offset: int = 0):
        tensor = triton.InferInput("FRAME", image.shape, "UINT8")
        tensor.set_shared_memory(region, n_bytes, offset=offset)
        return tensor

    with Region(8192) as region:
        client.register_system_shared_memory("r", region.key, region.size)
        refused("ALREADY_EXISTS", "registered already", client.register_system_shared_memory, "r", region.key, region.size)
        for key in ["/../etc/passwd", "/cellsegd-test-../x", "/other", "", "/cellsegd-test-" + "x" * 300, "/a/b"]:
            with pytest.raises(InferenceServerException) as told:
                client.register_system_shared_memory("s", key, 10)
            assert told.value.status() in {"StatusCode.INVALID_ARGUMENT", "StatusCode.PERMISSION_DENIED"}, (key, told.value)
        refused("INVALID_ARGUMENT", "byte size mismatch", client.infer, MODEL, [tensor("r", 4095)])
        refused("INVALID_ARGUMENT", "r", client.infer, MODEL, [tensor("r", 4096, offset=8000)])
        refused("INVALID_ARGUMENT", "r", client.infer, MODEL, [tensor("r", 4096, offset=2**63 - 1)])
        small = outputs("LABELS")
        small[0].set_shared_memory("r", 16)
        refused("INVALID_ARGUMENT", "should be at least 8192 bytes", client.infer, MODEL, [tensor("r", 4096)], outputs=small)
        # Where an answer could not be written no frame is segmented, and no sequence begins.
        os.chmod(region.file, 0o644)
        client.register_system_shared_memory("back", region.key, region.size)
        only_read = outputs("LABELS")
        only_read[0].set_shared_memory("back", 8192)
        first = {"outputs": only_read, "sequence_id": 7, "sequence_start": True}
        refused("PERMISSION_DENIED", "can only be read", client.infer, MODEL, [tensor("r", 4096)], **first)
        refused("INVALID_ARGUMENT", "START", client.infer, MODEL, [tensor("r", 4096)], sequence_id=7)
        # Truncated under the server's feet.
        os.truncate(region.file, 0)
        with pytest.raises(InferenceServerException, match="r"):
            client.infer(MODEL, [tensor("r", 4096)])
    assert client.infer(MODEL, [frame(image)]).as_numpy("COUNT")[0] > 0


def bare(told) -> list:
    return told if isinstance(told, list) else [told]


@pytest.fixture(scope="module")
def asked(daemon) -> dict:
    asker = oip_cases.Asker(daemon.address, MODEL, MODEL)
    yield asker.all()
    asker.channel.close()


@pytest.mark.parametrize("case", GOLDEN)
def test_answers_are_shaped_as_tritons(asked, case):
    for ours, theirs in zip(bare(asked[case]), bare(GOLDEN[case]), strict=True):
        if case in OURS:
            assert ours["code"] == OURS[case], ours
            continue
        assert ours.get("code") == theirs.get("code"), (ours, theirs)
        if "code" in ours:
            assert ours["message"]
        elif "answer" in ours:
            assert ours["answer"] == theirs["answer"]
        else:
            assert bool(ours.pop("error", "")) == bool(theirs.pop("error", ""))
            assert ours == theirs


def test_random_bytes_do_no_harm(daemon):
    random = np.random.default_rng(1)
    with daemon.channel() as channel:
        for method in ("ModelInfer", "ModelConfig", "SystemSharedMemoryRegister"):
            call = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
            good = oip_cases.request(model=MODEL).SerializeToString()
            for n in range(60):
                bytes_ = bytearray(good if n % 2 else random.bytes(random.integers(1, 200)))
                for place in random.integers(0, len(bytes_), 4):
                    bytes_[place] = random.integers(256)
                try:
                    call(bytes(bytes_), timeout=PATIENCE)
                except grpc.RpcError as error:
                    assert error.code() not in {grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE}, error
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=PATIENCE).live


def test_calls_without_frames_are_small(daemon):
    with daemon.channel() as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as told:
            stub.ModelConfig(service_pb2.ModelConfigRequest(name="x" * (1 << 20)), timeout=PATIENCE)
        assert told.value.code() == grpc.StatusCode.OUT_OF_RANGE


def test_perf_analyzer(daemon):
    """NVIDIA's load generator: one that nobody here wrote decides whether the door is Triton's."""
    command = os.environ.get("PERF_ANALYZER")
    if not command:
        pytest.skip("PERF_ANALYZER names no perf_analyzer (it needs a newer libc than Debian 12's): see docs/open-inference.md")
    told = subprocess.run(
        [*command.split(), "-m", MODEL, "-u", daemon.address, "-i", "grpc", "--shape", "FRAME:64,64", "--measurement-mode", "count_windows",
         "--measurement-request-count", "50", "--concurrency-range", "2", "--stability-percentage", "999"],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert "Throughput:" in told.stdout, told.stdout + told.stderr
