"""What operators see: metrics that Prometheus reads, status, the log, traces; and a log that cannot be written."""

import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest
from client import TIMEOUT_S, Session, raw
from contract import pb, rpc
from daemon import BIN, Daemon, environment, free_port, run
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from prometheus_client.openmetrics.parser import text_string_to_metric_families

IMAGE = np.full((48, 64), 90, dtype=np.uint8)
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


def with_http(settings: str) -> tuple[str, str]:
    port = free_port()
    return f'http = ["tcp://127.0.0.1:{port}"]\n{settings}', f"http://127.0.0.1:{port}"


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def wait_for(what, seconds: float = TIMEOUT_S):
    """What `what()` gives, once it gives something."""
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return found


def test_prometheus_reads_the_metrics(tmp_path, settings):
    settings, http = with_http(settings)
    with Daemon(tmp_path / "d", settings) as daemon:
        with Session(daemon, model="tiny") as session:
            for frame_id in (1, 2):
                session.segment(raw(IMAGE, id=frame_id))
            session.send_frame(pb.Frame(id=3))
            assert session.receive("frame").failed.code == pb.Failed.CODE_INVALID_FRAME
            status, text = get(f"{http}/metrics")
        assert status == 200
        # The parser refuses what Prometheus would not understand: units, suffixes, order, the end.
        families = {family.name: family for family in text_string_to_metric_families(text)}
        samples = {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families.values() for s in f.samples}

        def value(name, **labels):
            return samples[name, tuple(sorted(labels.items()))]

        assert value("cellsegd_frames_total", model="tiny", outcome="segmented", reason="") == 2
        assert value("cellsegd_frames_total", model="tiny", outcome="failed", reason="INVALID_FRAME") == 1
        assert value("cellsegd_frame_stage_seconds_count", model="tiny", stage="infer") == 2
        total = value("cellsegd_frame_stage_seconds_sum", model="tiny", stage="total")
        parts = [v for (n, labels), v in samples.items() if n == "cellsegd_frame_stage_seconds_sum"]
        assert 0 < total < 120 and sum(parts) <= 2 * total + 1e-3
        assert value("cellsegd_sessions") == 1
        assert value("cellsegd_lanes_up", model="tiny") == value("cellsegd_lanes", model="tiny") == 1
        # What the kernel says of this process.
        rss = value("process_resident_memory_bytes")
        assert abs(rss - daemon.rss()) < 0.5 * rss
        fds = len(os.listdir(f"/proc/{daemon.process.pid}/fd"))
        assert abs(value("process_open_fds") - fds) <= 5
        assert abs(value("process_start_time_seconds") - time.time()) < 3600
        for family in families.values():
            assert family.documentation and family.name.startswith(("cellsegd_", "process_")), family.name
        labels = {label for f in families.values() for s in f.samples for label in s.labels}
        assert not labels & {"session", "peer", "name_of_session"}
        assert get(f"{http}/readyz") == (200, "serving\n")
        assert get(f"{http}/livez")[0] == 200
        assert get(f"{http}/nothing")[0] == 404


def test_status_shows_a_line_a_session(tmp_path, settings):
    with Daemon(tmp_path / "d", settings) as daemon:
        server = ["--server", f"tcp://{daemon.address}"]
        empty = json.loads(run("status", "--json", *server).stdout)
        assert empty["sessions"] == [] and empty["state"] == "serving"
        assert [model["name"] for model in empty["models"]] == ["cells_640", "tiny"]
        with Session(daemon, model="tiny", name="scope-2 / incubator A") as session:
            reply = session.segment(raw(IMAGE, id=1))
            told = json.loads(run("status", "--json", *server).stdout)
            text = run("status", *server).stdout
        [account] = told["sessions"]
        assert account["name"] == "scope-2 / incubator A" and account["model"] == "tiny"
        assert (account["frames"], account["segmented"], account["failed"]) == (1, 1, 0)
        assert account["cells"] == reply.segmentation.summary.count
        assert account["confluence"] == pytest.approx(reply.segmentation.summary.confluence)
        assert account["p95_us"] == reply.timing.total
        assert 0 <= account["last_frame_s"] < TIMEOUT_S
        [line] = [line for line in text.splitlines() if line.startswith("scope-2 / incubator A")]
        assert re.search(r"127\.0\.0\.1 +tiny .* 1 +0 +0 ", line), text
    gone = run("status", *server, expect=1)
    assert "error:" in gone.stderr and gone.stdout == ""


def test_a_series_that_falls_silent_is_told_once_and_a_session_that_closes_is_accounted_for(tmp_path, settings):
    with Daemon(tmp_path / "d", settings) as daemon:
        with Session(daemon, model="tiny", name="scope-2") as session:
            for frame_id in range(1, 6):
                frame = raw(IMAGE, id=frame_id)
                frame.metadata.position = "A1"
                session.segment(frame)
            wait_for(lambda: "series fell silent" in daemon.log.read_text(), 30)
            session.send_frame(pb.Frame(id=9))
            session.receive("frame")
            session.half_close()
            assert session.receive("closed").frames == 6
        log = wait_for(lambda: "session closed" in (text := daemon.log.read_text()) and text)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in log.splitlines()]
    [silent] = [line for line in lines if "series fell silent" in line]
    assert "WARN" in silent and 'position "A1"' in silent and "scope-2" in silent
    [failed] = [line for line in lines if "frame failed" in line]
    assert "WARN" in failed and "INVALID_FRAME" in failed
    [closed] = [line for line in lines if "session closed" in line]
    for words in ("frames=6", "segmented=5", "dropped=0", "failed=1", "unanswered=0", "reasons=INVALID_FRAME 1"):
        assert words in closed, closed


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans as an OTLP collector does."""

    def __init__(self):
        self.spans = []
        self.lock = threading.Lock()

    def Export(self, request, context):  # noqa: N802, gRPC's name
        with self.lock:
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    self.spans += scope.spans
        return trace_service_pb2.ExportTraceServiceResponse()

    def all(self):
        with self.lock:
            return list(self.spans)


def test_spans_belong_to_the_clients_trace(tmp_path, settings):
    collector = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    parent = "b7ad6b7169203331"
    settings += f'[traces]\notlp = "http://127.0.0.1:{port}"\n'
    try:
        with Daemon(tmp_path / "d", settings) as daemon, daemon.channel() as channel:
            request = pb.SegmentRequest(options=pb.SessionOptions(model="tiny"), frame=raw(IMAGE, id=7))
            metadata = [("traceparent", f"00-{TRACE_ID}-{parent}-01")]
            reply = rpc.SegmenterStub(channel).Segment(request, metadata=metadata, timeout=TIMEOUT_S)
            assert reply.frame.WhichOneof("outcome") == "segmentation"
        # The daemon has ended: what it had to send it has sent.
        spans = {span.name: span for span in collector.all() if span.trace_id.hex() == TRACE_ID}
    finally:
        server.stop(None)
    assert {"session", "frame", "queued", "infer"} <= set(spans), sorted(spans)
    session, frame, infer = (spans[name] for name in ("session", "frame", "infer"))
    assert session.parent_span_id.hex() == parent
    assert frame.parent_span_id == session.span_id and infer.parent_span_id == frame.span_id
    total_us = (frame.end_time_unix_nano - frame.start_time_unix_nano) / 1e3
    assert total_us == pytest.approx(reply.frame.timing.total, abs=1)
    assert (infer.end_time_unix_nano - infer.start_time_unix_nano) / 1e3 == pytest.approx(
        reply.frame.timing.infer, abs=1
    )
    assert frame.start_time_unix_nano <= infer.start_time_unix_nano <= frame.end_time_unix_nano


def test_a_collector_that_is_not_there_costs_nothing_but_spans(tmp_path, settings):
    settings += f'[traces]\notlp = "http://127.0.0.1:{free_port()}"\n'
    with Daemon(tmp_path / "d", settings) as daemon, Session(daemon, model="tiny") as session:
        for frame_id in range(1, 20):
            session.segment(raw(IMAGE, id=frame_id))


@pytest.mark.parametrize("stderr", ["/dev/full", "closed"])
def test_a_log_that_cannot_be_written_ends_nothing(tmp_path, settings, stderr):
    address = f"127.0.0.1:{free_port()}"
    config = tmp_path / "cellsegd.toml"
    config.write_text(settings + '[log]\nfilter = "debug"\n')
    where = "2>&-" if stderr == "closed" else f"2>{stderr}"
    command = f'exec "$0" serve --config "{config}" --listen tcp://{address} {where}'
    process = subprocess.Popen(["sh", "-c", command, BIN], env=environment(), stdin=subprocess.DEVNULL)
    try:
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(TIMEOUT_S)
            request = pb.SegmentRequest(options=pb.SessionOptions(model="tiny"), frame=raw(IMAGE, id=1))
            for _ in range(20):
                reply = rpc.SegmenterStub(channel).Segment(request, timeout=TIMEOUT_S)
                assert reply.frame.WhichOneof("outcome") == "segmentation"
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 0
        # Neither does it change how a bad start ends.
        command = f'exec "$0" serve --config /nowhere {where}'
        bad = subprocess.run(["sh", "-c", command, BIN], env=environment(), timeout=TIMEOUT_S)
        assert bad.returncode == 78
    finally:
        process.kill()
        process.wait()


def test_without_a_journal_text_is_logged_and_the_lack_is_told(tmp_path):
    if Path("/run/systemd/journal/socket").exists():
        pytest.skip("this machine has a journal")
    log = tmp_path / "log"
    with log.open("w") as stderr:
        stat = os.fstat(stderr.fileno())
        env = environment(JOURNAL_STREAM=f"{stat.st_dev}:{stat.st_ino}")
        command = [BIN, "serve", "--check"]
        done = subprocess.run(command, env=env, stdout=subprocess.DEVNULL, stderr=stderr, timeout=TIMEOUT_S)
    assert done.returncode == 0
    assert "the journal cannot be reached" in log.read_text()
