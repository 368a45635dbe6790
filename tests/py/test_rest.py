"""REST/JSON by curl and requests: the same cells as gRPC's, in every form, read back by the tools that they are for."""

import base64
import csv
import io
import json
import re
import shutil
import socket
import subprocess
import time
import zipfile
import zlib

import cv2
import numpy as np
import pytest
import requests
import roifile
import shapely
import tifffile
from client import Session, cells, labels, pixels, png, raw, tiny_options
from conftest import skip
from contract import ROOT, pb
from daemon import Daemon, free_port
from frames import demo_files, demo_frame, discs
from google.protobuf import json_format
from pycocotools import mask as coco
from rest import BYTES, JSON, Rest, problem
from test_security import pair, tls_settings

TINY = "model=tiny&confidence=0.3&iou=0.5"
FULL_RANGE = {"normalization": {"full_range": {}}}


@pytest.fixture(scope="module")
def rest(tmp_path_factory, settings):
    with Rest(tmp_path_factory.mktemp("rest"), settings) as rest:
        yield rest
        assert rest.sessions() == [], "every session is closed"


def reply(rest: Rest, answer: requests.Response) -> pb.SegmentReply:
    """The answer, read as the contract's own JSON by protobuf's own library."""
    return json_format.Parse(answer.text, pb.SegmentReply())


def segmented(rest: Rest, path: str, image: bytes, kind: str = "image/png", **headers) -> requests.Response:
    return rest.post(path, data=image, headers={"Content-Type": kind, **headers})


def over_grpc(rest: Rest, frame: pb.Frame, **options) -> pb.FrameReply:
    with Session(rest.daemon, **options) as session:
        answer = session.segment(frame)
        session.close()
    return answer


def test_the_cells_are_those_of_grpc_to_the_bit(rest):
    image = demo_frame()
    metadata = pb.FrameMetadata(pixel_size_um=0.65)
    everything = pb.Measurements(shape=True, hull=True, intensity=True, background=True, neighbours=True)
    outputs = pb.Outputs(label_image=True, label_compression=pb.COMPRESSION_ZLIB)
    expected = over_grpc(rest, raw(image, frame={"metadata": metadata}), measurements=everything, outputs=outputs)
    assert len(cells(expected)) > 10

    height, width = image.shape
    asked = "measure=all&label_image=true&pixel_size_um=0.65"
    as_raw = rest.post(
        f"/v1/segment?format=Mono16&width={width}&height={height}&{asked}", data=image.tobytes(), headers=BYTES
    )
    as_png = segmented(rest, f"/v1/segment?{asked}", png(image))
    options = {
        "measurements": json_format.MessageToDict(everything, preserving_proto_field_name=True),
        "outputs": {"label_image": True, "label_compression": "COMPRESSION_ZLIB"},
    }
    as_form = rest.post(
        "/v1/segment",
        files={
            "image": ("t01.png", png(image), "image/png"),
            "options": (None, json.dumps(options), "application/json"),
            "metadata": (None, json.dumps({"pixel_size_um": 0.65}), "application/json"),
        },
    )
    for answer in (as_raw, as_png, as_form):
        got = reply(rest, answer).frame
        assert cells(got) == cells(expected)
        assert (labels(got.segmentation) == labels(expected.segmentation)).all()
        assert got.segmentation.summary == expected.segmentation.summary
        for mine, theirs in zip(got.segmentation.instances, expected.segmentation.instances):
            assert mine.measures == theirs.measures


def test_json_can_be_read_without_protobuf(rest):
    image = discs(96, 80)
    answer = segmented(rest, f"/v1/segment?{TINY}&masks=rle", png(image)).json()
    frame = answer["frame"]["segmentation"]
    assert frame["summary"]["count"] == len(frame["instances"]) > 0
    one = frame["instances"][0]
    counts = base64.b64decode(one["rle"]["counts"])
    mask = coco.decode({"size": [80, 96], "counts": counts})
    box = one["box"]
    ys, xs = np.nonzero(mask)
    assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (box["x0"], box["y0"], box["x1"], box["y1"])
    # Nothing is found: numbers are there all the same.
    nothing = segmented(rest, f"/v1/segment?{TINY}", png(np.zeros((80, 96), np.uint8))).json()
    assert nothing["frame"]["segmentation"]["summary"]["count"] == 0
    assert nothing["frame"]["segmentation"]["instances"] == []


def test_every_form_is_read_by_the_tool_that_it_is_for(rest):
    image = demo_frame()
    path = "/v1/segment?pixel_size_um=0.65&measure=shape&masks=rle"
    form = {"image": ("t01.png", png(image), "image/png")}
    expected = reply(rest, rest.post(path, files=form)).frame
    segmentation = expected.segmentation
    masks = [pixels(instance, segmentation.width, segmentation.height) for instance in segmentation.instances]
    truth = sum(mask.astype(np.uint16) * label for label, mask in enumerate(masks, 1))

    def take(accept: str) -> requests.Response:
        answer = rest.post(path, files=form, headers={"Accept": accept})
        assert answer.headers["X-Cellsegd-Cells"] == str(len(masks))
        assert answer.headers["X-Cellsegd-Model"] and answer.headers["X-Cellsegd-Session"]
        assert float(answer.headers["X-Cellsegd-Confluence"]) == pytest.approx(segmentation.summary.confluence)
        assert "infer;dur=" in answer.headers["Server-Timing"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        return answer

    got = cv2.imdecode(np.frombuffer(take("image/png").content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert got.dtype == np.uint16 and (got == truth).all()

    with tifffile.TiffFile(io.BytesIO(take("image/tiff").content)) as file:
        assert file.is_ome and (file.asarray() == truth).all()
        assert 'PhysicalSizeX="0.65"' in file.ome_metadata

    features = take("application/geo+json").json()["features"]
    for feature, mask in zip(features, masks, strict=True):
        shape = shapely.from_geojson(json.dumps(feature["geometry"]))
        assert shape.is_valid and shape.area == mask.sum()

    rows = list(csv.DictReader(io.StringIO(take("text/csv").text)))
    assert [int(row["area_px"]) for row in rows] == [mask.sum() for mask in masks]
    for row, instance in zip(rows, segmentation.instances):
        assert float(row["perimeter_um"]) == pytest.approx(instance.measures.shape.perimeter_um, rel=1e-8)
        assert row["image_id"] == "t01"

    archive = take("application/zip").content
    assert len(zipfile.ZipFile(io.BytesIO(archive)).namelist()) == len(masks)
    with io.BytesIO(archive) as file, zipfile.ZipFile(file) as rois:
        for name, mask in zip(sorted(rois.namelist()), masks):
            roi = roifile.ImagejRoi.frombytes(rois.read(name))
            ys, xs = np.nonzero(mask)
            assert (roi.left, roi.top, roi.right, roi.bottom) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)

    overlay = cv2.imdecode(np.frombuffer(take("image/png;kind=overlay").content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert overlay.shape == (*image.shape, 3) and (overlay[truth == 0].std(axis=-1) == 0).mean() > 0.9


def test_raw_pixels_in_every_guise(rest):
    image = discs(90, 70, dtype=np.uint16, peak=60000)
    expected = over_grpc(rest, raw(image), model="tiny", thresholds=pb.Thresholds(confidence=0.3, iou=0.5))
    padded = np.zeros((70, 100), np.uint16)
    padded[:, :90] = image
    shape = "format=Mono16&width=90&height=70"
    for query, data in [
        (shape, image.tobytes()),
        (f"{shape}&row_stride=200", padded.tobytes()),
        (f"{shape}&big_endian=true", image.astype(">u2").tobytes()),
        (f"{shape}&compression=zlib", zlib.compress(image.tobytes())),
    ]:
        answer = rest.post(f"/v1/segment?{TINY}&masks=rle&{query}", data=data, headers=BYTES)
        assert cells(reply(rest, answer).frame) == cells(expected), query
    mirrored = rest.post(
        f"/v1/segment?{TINY}&{shape}&flip_horizontal=true", data=image[:, ::-1].tobytes(), headers=BYTES
    )
    assert cells(reply(rest, mirrored).frame) == cells(expected)


def test_a_session_tracks_as_a_stream_does(rest):
    frames = [demo_frame(i) for i in range(4)]
    with Session(rest.daemon, tracking=pb.Tracking(), name="stream") as session:
        expected = [
            session.segment(raw(frame, id=i, frame={"metadata": pb.FrameMetadata(index={"t": i})}))
            for i, frame in enumerate(frames, 1)
        ]
        session.close()
    opened = rest.post("/v1/sessions", json={"tracking": {}, "name": "calls"})
    assert opened.status_code == 201
    at = opened.headers["Location"]
    assert at == f"/v1/sessions/{opened.json()['session']}"
    assert [session["name"] for session in rest.sessions()] == ["calls"]
    for i, (frame, theirs) in enumerate(zip(frames, expected), 1):
        answer = segmented(rest, f"{at}/frames?t={i}", png(frame))
        mine = json_format.Parse(answer.text, pb.FrameReply())
        assert mine.id == i and cells(mine) == cells(theirs)
        tracks = [[instance.track for instance in it.segmentation.instances] for it in (mine, theirs)]
        assert tracks[0] == tracks[1]
    closed = rest.call("DELETE", at).json()
    assert closed == {"frames": "4", "segmented": "4", "dropped": "0", "failed": "0"}
    assert problem(rest.call("GET", at))[0] == 404


def test_label_images_are_named_by_track_where_that_is_asked(rest):
    outputs = {"label_by": "LABEL_BY_TRACK", "label_image": True}
    at = rest.post("/v1/sessions", json={"tracking": {}, "outputs": outputs}).headers["Location"]
    segmented(rest, f"{at}/frames", png(demo_frame(0)))
    image = png(demo_frame(1))
    # The same frame again: every cell keeps its id.
    answer = json_format.Parse(segmented(rest, f"{at}/frames", image).text, pb.FrameReply())
    named = labels(answer.segmentation)
    ids = [instance.track.id for instance in answer.segmentation.instances]
    assert set(ids) == set(np.unique(named)) - {0} and ids != list(range(1, len(ids) + 1))
    assert (tifffile.imread(io.BytesIO(segmented(rest, f"{at}/frames?as=tiff", image).content)) == named).all()
    got = np.frombuffer(segmented(rest, f"{at}/frames?as=labels", image).content, np.uint8)
    assert (cv2.imdecode(got, cv2.IMREAD_UNCHANGED) == named).all()
    rest.call("DELETE", at)


def test_a_flat_field_and_a_reference_come_as_files(rest):
    image = discs(96, 80)
    flat = np.full((80, 96), 200, np.uint8)
    options = {"model": "tiny", "normalization": {"reference": {"low": 0, "high": 100}}}
    opened = rest.post(
        "/v1/sessions",
        files={
            "options": (None, json.dumps(options), "application/json"),
            "flat": ("flat.png", png(flat), "image/png"),
            "reference": ("reference.png", png(image), "image/png"),
        },
    ).json()
    window = opened["settled"]["normalization"]["window"]
    assert (window["low"], window["high"]) == (image.min(), image.max())
    assert "flat_field" in opened["settled"]
    at = f"/v1/sessions/{opened['session']}"
    assert segmented(rest, f"{at}/frames", png(image)).json()["segmentation"]["instances"]
    # A frame of another size than the flat field fails alone.
    code, word, detail = problem(rest.call("POST", f"{at}/frames", data=png(discs(64, 64)), headers={"Content-Type": "image/png"}))
    assert (code, word) == (422, "INVALID_FRAME") and "96x80" in detail
    rest.call("DELETE", at)


def test_a_stack_is_not_taken_for_its_first_page(rest):
    pages = np.stack([discs(96, 80, seed=seed) for seed in range(3)])
    file = io.BytesIO()
    tifffile.imwrite(file, pages, photometric="minisblack")
    stack, tiff = file.getvalue(), "image/tiff"

    def refused(path: str, code: int, words: str, **arguments):
        got, _, detail = problem(rest.call("POST", path, **arguments))
        assert got == code and words in detail, detail

    image = ("stack.tif", stack, tiff)
    several = "a TIFF file of 3 pages: say which with the parameter page"
    refused(f"/v1/segment?{TINY}", 400, several, data=stack, headers={"Content-Type": tiff})
    refused(f"/v1/segment?{TINY}", 400, several, data=stack, headers=BYTES)
    refused(f"/v1/segment?{TINY}", 400, several, files={"image": image})
    refused(f"/v1/segment?{TINY}&page=3", 422, "fewer pages", files={"image": image})
    good = ("t.png", png(pages[0]), "image/png")
    for part in ("flat", "dark"):
        words = f'part "{part}" of the form: a TIFF file of 3 pages'
        refused(f"/v1/segment?{TINY}", 400, words, files={"image": good, part: image})
    for page, alone in enumerate(pages):
        got = segmented(rest, f"/v1/segment?{TINY}&page={page}", stack, tiff)
        expected = segmented(rest, f"/v1/segment?{TINY}", png(alone))
        assert cells(reply(rest, got).frame) == cells(reply(rest, expected).frame)


def test_curl_sends_files_and_asks_before_it_sends_much(rest, tmp_path):
    if not shutil.which("curl"):
        skip("no curl")
    file = demo_files()[0]
    segment = f"{rest.url}/v1/segment"
    done = rest.curl("-F", f"image=@{file}", f"{segment}?as=csv")
    assert done.stdout.startswith(b"image_id,"), done.stderr
    assert file.stem.encode() in done.stdout
    kind = "image/png" if file.suffix == ".png" else "image/tiff"
    done = rest.curl("-H", f"Content-Type: {kind}", "-H", "Expect: 100-continue", "-T", str(file), "-X", "POST", segment)
    assert json.loads(done.stdout)["frame"]["segmentation"]["instances"], done.stderr
    # HTTP/2 without TLS, and one connection for two calls.
    done = rest.curl("--http2-prior-knowledge", "-H", f"Content-Type: {kind}", "--data-binary", f"@{file}", segment)
    assert json.loads(done.stdout)["frame"]["segmentation"]["instances"], done.stderr
    done = rest.curl("-w", "%{num_connects} ", "-o", "/dev/null", "-o", "/dev/null", f"{rest.url}/livez", f"{rest.url}/v1/models")
    assert done.stdout.split() == [b"1", b"0"]
    # A mistake that everybody makes once.
    done = rest.curl("--data-binary", f"@{file}", segment)
    assert "--data-binary" in json.loads(done.stdout)["detail"]


def test_pipelined_calls_are_answered_in_order(rest):
    calls = b"".join(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path for path in (b"/livez", b"/v1/models", b"/nowhere"))
    with socket.create_connection(rest.host.split(":"), timeout=20) as connection:
        connection.sendall(calls)
        got = b""
        while got.count(b"HTTP/1.1 ") < 3 or b"nothing is there" not in got:
            got += connection.recv(65536) or pytest.fail("closed")
    assert [part[:3] for part in got.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"404"]


def test_what_is_too_much_is_refused_without_being_kept(rest):
    before = rest.daemon.peak_rss()
    for headers in (JSON, BYTES):
        answer = rest.call("POST", "/v1/sessions" if headers is JSON else "/v1/segment", data=bytes(100 << 20), headers=headers)
        assert problem(answer)[:2] == (413, "TOO_LARGE")

    def pieces():
        for _ in range(100):
            yield bytes(1 << 20)

    answer = rest.call("POST", "/v1/sessions", data=pieces(), headers=JSON)
    assert problem(answer)[:2] == (413, "TOO_LARGE")
    assert rest.daemon.peak_rss() - before < 32 << 20
    # curl asks first, and then sends nothing.
    if shutil.which("curl"):
        done = rest.curl(
            "-H", "Content-Type: application/json", "-H", "Expect: 100-continue", "--data-binary", "@-",
            "-w", "%{http_code} %{size_upload}", "-o", "/dev/null", f"{rest.url}/v1/sessions", input=bytes(8 << 20),
        )  # fmt: skip
        assert done.stdout == b"413 0", done


def test_json_that_nests_without_end_is_refused(rest):
    for text in (b"[" * 500_000, b'{"thresholds":' * 40_000, b'{"model": "' + b"\\u0000" * 100_000, b"\xff\xfe", b"null"):
        answer = rest.call("POST", "/v1/sessions", data=text, headers=JSON)
        assert problem(answer)[0] == 400, text[:20]


def test_forms_that_are_wrong_say_what_is(rest):
    good = ("t.png", png(discs(64, 64)), "image/png")
    for files, code, words in [
        ({"picture": good}, 400, 'part "picture" of the form: there are image, metadata, options'),
        ({"metadata": (None, "{}")}, 400, 'part "image" of the form: there is none'),
        ({"image": good, "metadata": (None, '{"pixel_size": 1}')}, 400, "'pixel_size' at line 1 column 13"),
        ({"image": good, "options": (None, "tiny")}, 400, 'part "options" is not SessionOptions'),
        ({"image": ("t.png", b"GIF89a", "image/png")}, 422, "look like a GIF file"),
        ({"image": good, "reference": good}, 400, "needs normalization.reference"),
        ({"image": good, "options": (None, " " * (2 << 20))}, 413, 'part "options" of the form: at most'),
        ([("image", good), ("image", good)], 400, "once only"),
    ]:
        got, _, detail = problem(rest.call("POST", "/v1/segment", files=files))
        assert got == code and words in detail, (words, detail)
    answer = rest.call("POST", "/v1/segment", data=b"--x\r\n", headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert problem(answer)[0] == 400


def test_a_page_of_another_site_can_do_nothing(rest):
    data, png_type = png(discs(64, 64)), {"Content-Type": "image/png"}
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
    ):
        answer = rest.call("POST", "/v1/segment", data=data, headers=png_type | headers)
        assert problem(answer)[:2] == (403, "CROSS_ORIGIN"), headers
        assert not any(name.lower().startswith("access-control") for name in answer.headers)
    # By another name not even the status can be read.
    assert problem(rest.call("GET", "/v1/status", headers={"Host": "evil.example:80"}))[0] == 403
    preflight = rest.call("OPTIONS", "/v1/segment", headers={"Origin": "https://evil.example"})
    assert preflight.status_code == 405 and preflight.headers["Allow"] == "POST"
    for headers in ({"Origin": rest.url}, {"Sec-Fetch-Site": "same-origin", "Origin": rest.url}, {}):
        assert rest.call("POST", f"/v1/segment?{TINY}", data=data, headers=png_type | headers).ok


def test_clients_that_go_away_leave_nothing(rest):
    head = f"POST /v1/segment HTTP/1.1\r\nHost: {rest.host}\r\nContent-Type: image/png\r\nContent-Length: 1000000\r\n\r\n"
    for sent in (head.encode(), head.encode() + bytes(1000), head.encode()[:40]):
        with socket.create_connection(rest.host.split(":"), timeout=20) as connection:
            connection.sendall(sent)
    image = png(demo_frame())
    whole = head.replace("1000000", str(len(image))).encode() + image
    for _ in range(5):
        with socket.create_connection(rest.host.split(":"), timeout=20) as connection:
            connection.sendall(whole)
    until = time.monotonic() + 30
    while rest.sessions():
        assert time.monotonic() < until, rest.sessions()
        time.sleep(0.05)


def test_an_idle_session_closes_and_one_that_is_asked_for_does_not(tmp_path, settings):
    with Rest(tmp_path, settings, "[limits]\nsession_idle_s = 2") as rest:
        kept, left = [rest.post("/v1/sessions", json={"model": "tiny"}).json()["session"] for _ in range(2)]
        until = time.monotonic() + 30
        # Asking for its state is asking for it.
        while len(rest.sessions()) == 2:
            assert rest.call("GET", f"/v1/sessions/{kept}").ok
            assert time.monotonic() < until
            time.sleep(0.1)
        assert problem(rest.call("GET", f"/v1/sessions/{left}"))[0] == 404
        answer = segmented(rest, f"/v1/sessions/{kept}/frames?{TINY.split('&', 1)[1]}", png(discs(64, 64)))
        assert answer.json()["id"] == "1"
        metrics = rest.call("GET", "/metrics").text
        assert 'cellsegd_refused_total{bound="session_idle"} 1' in metrics


def test_the_description_is_answered(rest):
    described = rest.call("GET", "/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    assert {"/v1/segment", "/v1/sessions", "/v1/models", "/livez"} <= set(described["paths"])
    options = described["components"]["schemas"]["SessionOptions"]["properties"]
    assert set(options) == {field.name for field in pb.SessionOptions.DESCRIPTOR.fields}


def test_models_and_status_are_those_of_grpc(rest):
    models = json_format.Parse(rest.call("GET", "/v1/models").text, pb.ListModelsReply())
    assert models == rest.daemon.stub().ListModels(pb.ListModelsRequest(), timeout=20)
    status = json_format.Parse(rest.call("GET", "/v1/status").text, pb.StatusReply())
    assert status.state == pb.STATE_SERVING and len(status.models) == 2


def test_the_commands_of_the_documents_run(rest, tmp_path):
    if not shutil.which("curl"):
        skip("no curl")
    image = discs(2048, 2048, dtype=np.uint16, peak=60000)
    for name in ("frame.png", "t01.png", "t02.png", "reference.png"):
        (tmp_path / name).write_bytes(png(discs(96, 80)))
    for name, counts in (("flat.png", 200), ("dark.png", 2)):
        (tmp_path / name).write_bytes(png(np.full((80, 96), counts, np.uint8)))
    tifffile.imwrite(tmp_path / "frame.tif", discs(96, 80))
    (tmp_path / "frame.raw").write_bytes(image.tobytes())
    ran = 0
    for document in (ROOT / "README.md", ROOT / "docs/rest.md"):
        for block in re.findall(r"```sh\n(.*?)```", document.read_text(), re.DOTALL):
            if "curl " not in block or "/v1/" not in block:
                continue
            script = block.replace("127.0.0.1:9464", rest.host).replace("curl ", "curl -fsS --max-time 120 ")
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, timeout=600)
            assert done.returncode == 0, (script, done.stderr, done.stdout[-2000:])
            ran += 1
    assert ran >= 2
    assert tifffile.imread(tmp_path / "labels.tif").max() > 0


def test_over_tls_a_token_says_who_calls_and_whose_a_session_is(tmp_path, tiny_model):
    tls = tmp_path / "tls"
    lims, scope, looker = pair(tls, "lims"), pair(tls, "scope-2"), pair(tls, "page", "--role", "observe")
    port = free_port()
    settings = f'http = ["tls://127.0.0.1:{port}"]\nmodels = ["{tiny_model}"]\n[engine]\nkind = "rten"\n{tls_settings(tls)}'
    image = {"image": ("t.png", png(discs(64, 64)), "image/png")}

    def call(method: str, path: str, token: str | None = None, **arguments) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= arguments.pop("headers", {})
        return requests.request(
            method, f"https://localhost:{port}{path}", verify=str(tls / "ca.pem"), headers=headers, timeout=60, **arguments
        )

    with Daemon(tmp_path / "daemon", settings):
        for token in (None, "0" * 64):
            answer = call("POST", "/v1/segment", token, files=image)
            assert problem(answer)[:2] == (401, "UNAUTHENTICATED") and answer.headers["WWW-Authenticate"] == "Bearer"
            assert "0" * 64 not in answer.text
        assert problem(call("POST", "/v1/segment", looker, files=image))[:2] == (403, "PERMISSION_DENIED")
        assert call("GET", "/v1/models", looker).ok and call("GET", "/livez").ok
        # A token is nobody's but the sender's, whatever page sends it.
        assert call("POST", "/v1/segment", lims, files=image, headers={"Origin": "https://lims.example"}).ok
        at = call("POST", "/v1/sessions", lims).headers["Location"]
        for method, path in [("GET", at), ("PATCH", at), ("DELETE", at), ("POST", f"{at}/frames")]:
            assert problem(call(method, path, scope, files=image if method == "POST" else None))[0] == 404
        assert call("POST", f"{at}/frames", lims, files=image).ok
        assert call("DELETE", at, lims).json()["segmented"] == "1"
        if shutil.which("curl"):
            command = ["curl", "-fsS", "--max-time", "60", "--http2", "--cacert", tls / "ca.pem", "-w", "%{http_version}", "-o", "/dev/null"]
            done = subprocess.run([*command, "-H", f"Authorization: Bearer {lims}", f"https://localhost:{port}/v1/models"], capture_output=True)
            assert done.stdout == b"2", done


def test_who_calls_too_often_is_told_when_to_try_again(tmp_path, settings):
    with Rest(tmp_path, settings, "[limits]\nrequests_per_s = 2") as rest:
        answers = [rest.call("GET", "/livez") for _ in range(10)]
        refused = [answer for answer in answers if not answer.ok]
        assert refused and all(problem(answer)[:2] == (429, "RESOURCE_EXHAUSTED") for answer in refused)
        assert all(1 <= int(answer.headers["Retry-After"]) <= 2 for answer in refused)
