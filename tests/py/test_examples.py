"""Controllers and scripts in other languages, as somebody would copy them: built, run against a daemon, their output held against it."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from conftest import skip
from contract import ROOT
from daemon import TARGET, Daemon, environment, free_port, run
from frames import demo_files, demo_frame, discs
from shapely.geometry import shape
from test_resume import Supervisor
from venvs import CLIENT, python_of

EXAMPLES = ROOT / "examples"
PATIENCE_S = 180


def tool(name: str) -> str:
    return shutil.which(name) or skip(f"no {name}")


def outcome(command, **more) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE_S, **more
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def cpp_controller() -> Path:
    """Built once; made again when the contract or the example changes."""
    for name in ("make", "g++", "pkg-config", "protoc", "grpc_cpp_plugin"):
        tool(name)
    if subprocess.run(["pkg-config", "--exists", "grpc++", "protobuf"]).returncode:
        skip("no gRPC for C++ (libgrpc++-dev, libprotobuf-dev)")
    build = TARGET.absolute() / "examples/cpp"
    done = outcome(["make", "-j2", "-C", EXAMPLES / "cpp", f"BUILD={build}"])
    assert "warning" not in done.stderr, done.stderr
    return build / "controller"


@pytest.fixture(scope="module")
def rust_controller() -> Path:
    built = TARGET / "debug/controller"
    return built if built.exists() else skip(f"no {built}: cargo build --workspace makes it")


def test_the_controller_in_cpp_loses_no_frame_when_the_daemon_is_killed(cpp_controller, tmp_path, tiny_model):
    n_frames, lines = 60, []
    with Supervisor(tmp_path, tiny_model) as supervisor:
        command = [cpp_controller, "--url", supervisor.address, "--frames", str(n_frames), "--rate", "15"]
        client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        reading = threading.Thread(target=lambda: lines.extend(client.stdout))
        reading.start()
        try:
            until = time.monotonic() + PATIENCE_S
            while sum(line.startswith("frame ") for line in lines) < 15 and time.monotonic() < until:
                time.sleep(0.01)
            supervisor.kill_with_frames_in_flight()
            assert client.wait(PATIENCE_S) == 0
        finally:
            client.kill()
            reading.join()
    answered = [int(match[1]) for line in lines if (match := re.match(r"frame (\d+): \d+ cells", line))]
    assert answered == list(range(n_frames)), "".join(lines)
    segmented, *others, again = map(int, re.findall(r"(\d+) ", lines[-1]))
    assert (segmented, others) == (n_frames, [0, 0, 0]) and again > 0, lines[-1]
    assert sum(line.startswith("model tiny") for line in lines) == 2


def test_the_controller_in_cpp_shows_drops_and_refusals(cpp_controller, tmp_path, daemon):
    command = [cpp_controller, "--url", f"unix:{daemon.socket}", "--frames", "20", "--rate", "1000", "--latest"]
    lines = outcome(command).stdout.splitlines()
    assert len([line for line in lines if line.startswith("frame ")]) == 20
    assert sum("dropped, REASON_NEWER_FRAME" in line for line in lines) > 0
    # The bundled model finds the disc.
    assert re.fullmatch(r"frame 19: 1 cells, .*", lines[-3]) and re.match(r"  cell 1: score 0\.\d+, box 1\d\d,", lines[-2]), lines
    nobody = subprocess.run([cpp_controller, "--ca", tmp_path / "none.pem"], capture_output=True, text=True, timeout=PATIENCE_S)
    assert (nobody.returncode, "cannot read" in nobody.stderr) == (2, True)


def test_the_controller_in_rust(rust_controller, daemon):
    lines = outcome([rust_controller, f"http://{daemon.address}", "6", "3"]).stdout.splitlines()
    assert [line for line in lines if line.startswith("frame ")] == [f"frame {n}: 1 cells" for n in range(6)]
    ids = {re.match(r"  id (\d+): score 0\.\d+, ", line)[1] for line in lines if line.startswith("  id")}
    assert len(ids) == 1, "the disc is one cell through all frames"
    assert lines[-1] == "6 frames: 6 segmented, 0 dropped, 0 failed"


@pytest.fixture(scope="module")
def http(tmp_path_factory, settings) -> str:
    """The address of a daemon that speaks HTTP too."""
    port = free_port()
    with Daemon(tmp_path_factory.mktemp("http"), f'http = ["tcp://127.0.0.1:{port}"]\n{settings}'):
        yield f"http://127.0.0.1:{port}"


def groovy(*arguments, **more: str) -> subprocess.CompletedProcess:
    program = tool("groovy")
    # Debian's starter looks for Java in one place only.
    home = str(Path(os.path.realpath(tool("java"))).parents[1])
    return outcome([program, *arguments], env=environment(JAVA_HOME=home, **more))


def test_the_script_for_fiji_finds_the_cells_that_the_program_finds(http, tmp_path):
    jar = Path("/usr/share/java/ij.jar")
    if not jar.exists():
        skip(f"no {jar} (libij-java)")
    file = demo_files()[0]
    rois = tmp_path / "rois.zip"
    done = groovy("-cp", jar, EXAMPLES / "fiji/segment.groovy", file, rois, CELLSEGD_URL=http)
    run("segment", file, "--out", tmp_path / "out", "--json", CELLSEGD_ENGINE__KIND="rten")
    cells = json.loads((tmp_path / "out" / f"{file.stem}.json").read_text())
    first, *rows = done.stdout.splitlines()
    assert first == f"{len(cells)} cells"
    # ImageJ counts the pixels inside of our outlines itself.
    assert [float(row.split()[1]) for row in rows] == [cell["area"] for cell in cells]
    assert rois.read_bytes().startswith(b"PK")


def test_the_script_for_fiji_says_what_the_daemon_says(http):
    jar = Path("/usr/share/java/ij.jar")
    if not jar.exists():
        skip(f"no {jar} (libij-java)")
    with pytest.raises(AssertionError, match="401|role|token|Bearer"):
        groovy("-cp", jar, EXAMPLES / "fiji/segment.groovy", demo_files()[0], CELLSEGD_URL=http, CELLSEGD_TOKEN="0" * 64)


def test_the_script_for_qupath_is_groovy():
    """QuPath's own classes are not there: what can be had is that it parses."""
    check = (
        "import org.codehaus.groovy.control.*\n"
        "def unit = new CompilationUnit(); unit.addSource(new File(args[0])); unit.compile(Phases.CONVERSION); println 'parsed'"
    )
    with tempfile.NamedTemporaryFile("w", suffix=".groovy") as script:
        script.write(check)
        script.flush()
        assert groovy(script.name, EXAMPLES / "qupath/segment.groovy").stdout.strip() == "parsed"


def test_the_names_in_csharp_are_those_of_the_contract(tmp_path):
    """There is no .NET SDK: what can be had is that each name exists, in the contract as C# sees it or in .NET."""
    outcome([tool("protoc"), f"-I{ROOT / 'proto'}", f"--csharp_out={tmp_path}", ROOT / "proto/cellseg/v1/segmentation.proto"])
    made = set(re.findall(r"\w+", (tmp_path / "Segmentation.cs").read_text()))
    source = re.sub(r'//.*|"(?:\\.|[^"\\])*"', "", (EXAMPLES / "csharp/Program.cs").read_text())
    source = "\n".join(line for line in source.splitlines() if not line.startswith("using "))
    names = set(re.findall(r"\b[A-Z]\w+\b", source))
    of_dotnet = set(
        """Add AsBytes AsSpan Build ByteString CallCredentials CancellationToken ChainPolicy Channel ChannelCredentials ChannelWriter
        CompleteAsync Complete CompletedTask Connect Console CopyFrom Create CreateBounded CreateFromPem Current CustomRootTrust
        CustomTrustStore File ForAddress FromInterceptor FromSeconds GrpcChannel GrpcChannelOptions HttpHandler IOException Join
        KeepAlivePingDelay KeepAlivePingTimeout Length MaxReceiveMessageSize MemoryMarshal MoveNext NoCheck None Parse Print Camera
        ReadAllAsync ReadAllText Reader Release RemoteCertificateChainErrors RemoteCertificateValidationCallback RequestStream
        ResponseStream RevocationMode Run SecureSsl SemaphoreSlim Sleep SocketsHttpHandler SslOptions SslPolicyErrors Start StartsWith
        Task Thread TimeSpan Trim TrustMode TryWrite WaitAsync WriteAsync WriteLine Writer X509Certificate2 X509ChainTrustMode
        X509RevocationMode Count Credentials SegmenterClient Stream Segmenter""".split()
    )
    assert names <= made | of_dotnet, sorted(names - made - of_dotnet)
    assert {"StreamRequest", "ReplyOneofCase", "HasParentId", "Mono16"} <= names & made


@pytest.fixture(scope="module")
def hook():
    """The example of pycro-manager, and the client that it imports, from this repository."""
    sys.path.insert(0, str(CLIENT))
    try:
        spec = importlib.util.spec_from_file_location("segment_hook", EXAMPLES / "pycromanager/segment_hook.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(CLIENT))


def tags(t: int, **more) -> dict:
    """An image's metadata as pycro-manager 1.0 makes it."""
    return {
        "Axes": {"time": t, "channel": "Phase"}, "Channel": "Phase", "PixelSize_um": 0.87, "Exposure": 10.0, "BitDepth": 8,
        "ElapsedTime-ms": 1000.0 * t, "XPosition_um_Intended": 5.0, "Width": 96, "Height": 96, "PixelType": "GRAY8",
    } | more  # fmt: skip


def test_the_hook_for_pycromanager_adds_numbers_and_passes_images_on(hook, daemon):
    image = discs(96, 96)
    with hook.cellsegd.Client(f"http://{daemon.address}") as client:
        cells = hook.Cells(client, channel="Phase", model="tiny", confidence=0.3, track=True, normalization=hook.cellsegd.full_range())
        n_cells = set()
        for t in range(3):
            same, metadata = cells(image, tags(t))
            assert same is image
            found = metadata["cellsegd"]
            assert (found["outcome"], len(found["areas_px"])) == ("segmented", found["cells"])
            n_cells.add(found["cells"])
            assert json.dumps(metadata)  # it is saved as JSON
        assert len(n_cells) == 1 and n_cells.pop() > 0
        _, other = cells(image, tags(3, Channel="DAPI", Axes={"time": 3, "channel": "DAPI"}))
        assert "cellsegd" not in other
        cells.close()


def test_the_hook_for_pycromanager_outlives_the_daemon(hook, tmp_path, settings):
    image, port = discs(96, 96), free_port()
    options = {"model": "tiny", "confidence": 0.3}
    killed = Daemon(tmp_path / "one", settings, also=(f"tcp://127.0.0.1:{port}",))
    with hook.cellsegd.Client(f"http://127.0.0.1:{port}", timeout_s=2, max_reconnect_s=1) as client:
        cells = hook.Cells(client, **options)
        assert cells(image, tags(0))[1]["cellsegd"]["outcome"] == "segmented"
        killed.process.send_signal(signal.SIGKILL)
        killed.process.wait()
        for t in (1, 2):
            lost = cells(image, tags(t))[1]["cellsegd"]
            assert lost["outcome"] == "failed" and lost["reason"], lost
        with Daemon(tmp_path / "two", settings, also=(f"tcp://127.0.0.1:{port}",)):
            until = time.monotonic() + PATIENCE_S
            while (again := cells(image, tags(3))[1]["cellsegd"])["outcome"] != "segmented":
                assert time.monotonic() < until, again
            cells.close()


def test_pycromanager_saves_the_numbers_with_its_images(tmp_path, daemon):
    """The example as it is, on Micro-Manager's own core and its demo camera."""
    python = python_of("pycromanager")
    more = environment(CELLSEGD_URL=f"http://{daemon.address}", PYTHONPATH=str(CLIENT))
    done = outcome([python, EXAMPLES / "pycromanager/segment_hook.py", tmp_path, "--demo"], env=more)
    lines = [line for line in done.stdout.splitlines() if "outcome" in line]
    assert len(lines) == 5 and all("'outcome': 'segmented'" in line for line in lines), done.stdout


def test_metadata_of_micromanager_becomes_the_contracts(hook):
    known = hook.described(tags(4, PositionName="A1"))
    assert (known["t"], known["channel"], known["position"]) == (4, "Phase", "A1")
    assert (known["pixel_size_um"], known["x_um"], known["elapsed_ms"]) == (0.87, 5.0, 4000.0)
    assert "pixel_size_um" not in hook.described(tags(0, PixelSize_um=0))
    assert np.isclose(known["exposure_ms"], 10)


def asked(url: str, data: bytes | None = None, method: str | None = None, **headers: str) -> tuple[bytes, str]:
    """The answer and its media type."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return answer.read(), answer.headers.get_content_type()


def test_the_calls_of_matlab_are_answered_as_it_reads_them(http):
    """There is no MATLAB: the same addresses, and every field that the example takes from an answer."""
    source = (EXAMPLES / "matlab/time_lapse.m").read_text()
    wanted = {"name": "MATLAB", "tracking": {"max_gap": 2}, "measurements": {"shape": True}}
    body, _ = asked(f"{http}/v1/sessions", json.dumps(wanted).encode(), Content_Type="application/json")
    opened = json.loads(body)
    for field in re.findall(r"opened\.([\w.]+)", source):
        assert value_of(opened, field), field
    address = re.search(r'sprintf\("%s(/frames\?[^"]*)"', source)[1]
    image = demo_frame()
    height, width = image.shape
    url = f"{http}/v1/sessions/{opened['session']}{address % ('Mono16', width, height, 0, 0)}"
    body, kind = asked(url, image.tobytes(), Content_Type="application/octet-stream", Accept="application/json")
    assert kind == "application/json"
    cell = json.loads(body)["segmentation"]["instances"][0]
    fields = set(re.findall(r"cell_k\.([\w.]+)", source))
    assert len(fields) == 4
    for field in fields:
        assert value_of(cell, field), field
    closed, _ = asked(f"{http}/v1/sessions/{opened['session']}", method="DELETE")
    assert int(json.loads(closed)["segmented"]) == 1


def value_of(message: dict, path: str):
    for name in path.split("."):
        message = message[name]
    return message


def test_the_call_of_labview_has_big_endian_pixels(http):
    text = (ROOT / "docs/integrations.md").read_text()
    path = re.search(r"http://127\.0\.0\.1:9464(/v1/segment\?\S*big_endian=true)", text)[1]
    image = np.full((2048, 2048), 2000, np.uint16)
    y, x = np.mgrid[:2048, :2048]
    image[(x - 1000) ** 2 + (y - 900) ** 2 < 120**2] = 30_000
    body, _ = asked(http + path, image.astype(">u2").tobytes(), Content_Type="application/octet-stream", Accept="application/json")
    [cell] = json.loads(body)["frame"]["segmentation"]["instances"]
    assert cell["box"]["x0"] == pytest.approx(880, abs=20) and cell["box"]["y1"] == pytest.approx(1020, abs=20)


def test_the_call_of_qupath_is_answered_with_polygons_that_it_reads(http):
    source = (EXAMPLES / "qupath/segment.groovy").read_text()
    accept = re.search(r'setRequestProperty\("Accept", "(.*?)"\)', source)[1]
    png = demo_files()[0].read_bytes()
    url = f"{http}/v1/segment?confidence=0.3&pixel_size_um=0.87"
    body, kind = asked(url, png, Content_Type="image/png", Accept=accept)
    assert kind == "application/geo+json"
    features = json.loads(body)["features"]
    assert len(features) > 10
    for feature in features:
        assert shape(feature["geometry"]).is_valid
        assert feature["properties"]["objectType"] == "detection"
