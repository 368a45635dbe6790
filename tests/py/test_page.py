"""The page in a real browser: what a person sees of a stream, in which light, after which login; and what the browser was told."""

import base64
import io
import json
import re
import shutil
import signal
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from client import Session, corners, raw
from conftest import skip
from contract import ROOT, pb
from daemon import BUNDLED_MODEL, Daemon, free_port, run
from frames import demo_frame
from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE_S = 60
CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--window-size=1500,1000",
]
AXE = ROOT / "target/wheels/axe-playwright-python-0.1.8/axe_playwright_python/axe.min.js"
# As hostile as a name can be that a person types.
NAME = "scope-1 <img src=x onerror=\"document.title='caught'\"> & 'B'"


class Page:
    """A browser with the page open."""

    def __init__(self, folder: Path):
        if not CHROMIUM or not DRIVER:
            skip("no chromium with its driver: apt-get install chromium chromium-driver")
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in [*FLAGS, f"--user-data-dir={folder}"]:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        self.driver.set_page_load_timeout(PATIENCE_S)
        self.driver.set_script_timeout(PATIENCE_S)
        self.complaints = []

    def open(self, url: str):
        self.url = url
        self.driver.get(url)

    def at(self, id: str):
        return self.driver.find_element(By.ID, id)

    def text(self, id: str) -> str:
        return self.at(id).text

    def wait(self, what, why: str):
        # Elements come and go while somebody looks.
        waiting = WebDriverWait(self.driver, PATIENCE_S, 0.1, [StaleElementReferenceException])
        return waiting.until(lambda _: what(), why)

    def watches(self, name: str):
        """Waits until the page gets a session's frames: those that come before are not shown to anybody."""
        self.wait(lambda: self.text("title") == name and self.text("answers"), f"it looks at {name}")

    def rests(self):
        """Waits until colours of buttons, which fade, are what they will be."""
        script = "return document.getAnimations().length === 0"
        # What was just changed fades from the next picture on.
        self.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
        self.wait(lambda: self.driver.execute_script(script), "nothing moves")

    def canvas(self) -> np.ndarray:
        """The picture with its outlines, as drawn: [height, width, 3]."""
        script = """const c = document.getElementById("canvas"); const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
            let s = ""; for (let i = 0; i < d.length; i += 8192) s += String.fromCharCode(...d.subarray(i, i + 8192)); return [c.width, c.height, btoa(s)];"""
        width, height, data = self.driver.execute_script(script)
        return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)[..., :3].astype(int)

    def screenshot(self) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")).astype(int)

    def light(self, light: str):
        self.driver.find_element(By.CSS_SELECTOR, f'input[value="{light}"] + span').click()

    def requested(self) -> set[str]:
        """Every address that the browser asked for since the last time."""
        events = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        return {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}

    def errors(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.fixture
def page(tmp_path) -> Page:
    page = Page(tmp_path / "browser")
    try:
        yield page
    finally:
        page.driver.quit()


class Seen(Daemon):
    """A daemon with the page, on a port that stays the same when it is started again."""

    def __init__(self, folder: Path, port: int | None = None, settings: str = ""):
        port = port or free_port()
        self.port = port
        self.url = f"http://127.0.0.1:{port}/"
        super().__init__(
            folder,
            f'http = ["tcp://127.0.0.1:{port}"]\nmodels = ["{BUNDLED_MODEL}"]\n{settings}\n[engine]\nkind = "rten"\n',
            unix=True,
        )


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> Seen:
    with Seen(tmp_path_factory.mktemp("seen")) as daemon:
        yield daemon


def live(daemon: Daemon, name: str = NAME) -> Session:
    """A session as a controller opens it for a time-lapse."""
    outputs = pb.Outputs(masks=pb.MASK_ENCODING_RINGS)
    return Session(daemon, pb.SessionOptions(name=name, tracking=pb.Tracking(), outputs=outputs))


def segmented(session: Session, n: int, position: str = "A1") -> pb.FrameReply:
    metadata = pb.FrameMetadata(position=position, channel="Phase", pixel_size_um=0.65, index={"t": n, "z": 3})
    return session.segment(raw(demo_frame(n), id=n + 1, frame={"metadata": metadata}))


def colourful(image: np.ndarray) -> np.ndarray:
    """Where an image is no grey."""
    return image.max(axis=2) - image.min(axis=2) > 60


def shows(page: Page, reply: pb.FrameReply) -> bool:
    return f"frame {reply.id} " in page.text("where") and page.text("cells") == str(reply.segmentation.summary.count)


def test_a_stream_is_seen_and_changes_and_ends(seen, page):
    page.open(seen.url)
    page.wait(lambda: "No session is open" in page.text("none"), "it says that there is nothing to see")
    with live(seen) as session:
        page.watches(NAME)
        listed = page.driver.find_element(By.CSS_SELECTOR, "button.session")
        assert listed.find_element(By.CLASS_NAME, "big").text == page.text("cells") == "–", "of no frame nothing is known"
        assert "0 frames" in listed.text and "%" not in listed.text
        first = segmented(session, 0)
        page.wait(lambda: shows(page, first), "the numbers of the first frame")
        page.wait(lambda: listed.find_element(By.CLASS_NAME, "big").text == page.text("cells"), "the list has them too")
        assert first.segmentation.summary.count > 20
        assert "position A1 · channel Phase · z 3 · t 0" in page.text("where")
        assert "1024 × 1022" in page.text("where")
        page.at("numbers").click()  # They lie over lines.
        drawn = page.canvas()
        scale = drawn.shape[1] / first.segmentation.width
        colours = colourful(drawn)
        # Around each cell its line is where the reply says, within what a line is wide.
        for instance in first.segmentation.instances[:20]:
            for x, y in corners(instance.rings.rings[0])[::9]:
                left, top = (max(0, int(edge * scale) - 2) for edge in (x, y))
                assert colours[top : top + 5, left : left + 5].any(), (instance.label, x, y)
        assert colours.mean() < 0.2, "outside of lines the frame is grey"
        second = segmented(session, 3)
        page.wait(lambda: shows(page, second), "the numbers of the next frame")
        assert np.mean(np.abs(page.canvas() - drawn)) > 1, "another picture"
        page.wait(lambda: "from" in page.at("count-curve").get_attribute("aria-label"), "a curve")
        assert {"infer", "preprocess"} <= set(re.findall("[a-z]+", page.text("stages")))

        session.send_frame(raw(demo_frame(0), id=99, width=7))
        failure = session.receive("frame").failed.message
        page.wait(lambda: failure in page.text("troubles"), "a failure in words")
        assert "1 failed (invalid frame)" in page.text("answers")

        # What a client writes is text and nothing else.
        assert not page.driver.find_elements(By.CSS_SELECTOR, "img, [onerror]")
        assert page.driver.title == f"{NAME} – cellsegd"
    page.wait(lambda: "No session is open" in page.text("none"), "the session is over")
    assert page.errors() == []
    hosts = {urlsplit(url).netloc for url in page.requested() if not url.startswith(("blob:", "data:", "chrome"))}
    assert hosts == {f"127.0.0.1:{seen.port}"}, "nothing is from elsewhere"


def test_what_it_says_to_type_works(seen, page, tmp_path):
    page.open(seen.url)
    page.wait(lambda: "No session is open" in page.text("none"), "there is nothing to see")
    program, *words = page.driver.find_element(By.CSS_SELECTOR, "#none code").text.split()
    assert program == "cellsegd" and {"FOLDER", "CELLS"} <= set(words)
    (tmp_path / "frames").mkdir()
    shutil.copy(ROOT / "demo/t01.png", tmp_path / "frames")
    places = {"FOLDER": tmp_path / "frames", "CELLS": tmp_path / "cells"}
    run(*[places.get(word, word) for word in words])
    assert any((tmp_path / "cells").iterdir())


def test_red_light_is_only_red_and_stays(seen, page):
    page.open(seen.url)
    with live(seen, "dark room") as session:
        page.watches("dark room")
        page.light("red")
        reply = segmented(session, 2)
        page.wait(lambda: shows(page, reply), "a frame in red")
        for again in (False, True):
            if again:
                page.driver.refresh()
                page.watches("dark room")
                reply = segmented(session, 4)
                page.wait(lambda: shows(page, reply), "a frame after a reload")
            page.rests()
            for image in (page.canvas(), page.screenshot()):
                assert image[..., 1:].max() <= 8, "no green and no blue"
                assert image[..., 0].max() == 255
        page.light("light")
        page.wait(lambda: page.screenshot()[5, 5].min() > 230, "white")


def test_it_is_used_with_the_keyboard(seen, page):
    page.open(seen.url)
    with live(seen, "one") as one, live(seen, "two") as two:
        page.watches("two")  # The newest session is picked.
        reply = segmented(two, 0)
        page.wait(lambda: shows(page, reply), "its frame")
        keys = page.driver.switch_to
        page.driver.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
        assert keys.active_element.text == "Skip to the newest frame"
        for _ in range(10):
            if keys.active_element.get_attribute("class") == "session":
                break
            keys.active_element.send_keys(Keys.TAB)
        keys.active_element.send_keys(Keys.ARROW_DOWN)
        keys.active_element.send_keys(Keys.ENTER)
        page.watches("one")
        assert page.at("waiting").is_displayed(), "nothing has come since it looks"
        reply = segmented(one, 1)
        page.wait(lambda: shows(page, reply), "its frame")
        canvas = page.at("canvas")
        canvas.send_keys("o", "f", "n")
        page.wait(lambda: not colourful(page.canvas()).any(), "no lines, no fill, no numbers")
        canvas.send_keys("o")
        page.wait(lambda: colourful(page.canvas()).any(), "lines again")
        canvas.send_keys("p")
        later = segmented(one, 2)
        page.wait(lambda: page.text("frames") == "2", "numbers go on")
        assert shows(page, reply)
        canvas.send_keys("p")
        page.wait(lambda: shows(page, later), "and so does the picture")


def test_each_position_can_be_followed(seen, page):
    page.open(seen.url)
    with live(seen, "plate") as session:
        page.watches("plate")
        for n, position in enumerate(["A1", "B2"]):
            reply = segmented(session, n, position)
            page.wait(lambda: shows(page, reply), position)
        chips = page.wait(lambda: page.driver.find_elements(By.CSS_SELECTOR, "#series button"), "both series")
        page.wait(lambda: len(page.driver.find_elements(By.CSS_SELECTOR, "#series button")) == 3, "both series")
        chips = page.driver.find_elements(By.CSS_SELECTOR, "#series button")
        next(chip for chip in chips if "A1" in chip.text).click()
        page.wait(lambda: "position A1" in page.text("where"), "its last frame is still there")
        segmented(session, 2, "B2")
        mine = segmented(session, 3, "A1")
        page.wait(lambda: shows(page, mine), "the one that was picked goes on")


def test_who_needs_a_token_logs_in_and_sees_when_that_is_over(tmp_path, page):
    folder, token, settings = asking(tmp_path, "observe")
    with Seen(tmp_path / "daemon", settings=settings) as daemon:
        page.open(daemon.url)
        page.wait(lambda: page.at("login-form").is_displayed(), "a form")
        assert not page.at("nav").is_displayed() and not page.at("none").is_displayed()
        page.at("token").send_keys("wrong", Keys.ENTER)
        page.wait(lambda: "not known here" in page.text("login-error"), "it says what is wrong")
        page.at("token").send_keys(token, Keys.ENTER)
        page.wait(lambda: "No session is open" in page.text("none"), "let in")
        assert "token desk" in page.text("connection")
        (cookie,) = page.driver.get_cookies()
        assert cookie["httpOnly"] and cookie["sameSite"] == "Strict" and token not in cookie["value"]
        kept = page.driver.execute_script("return JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + location.href")
        assert token not in kept + daemon.log.read_text()

        with Session(daemon, pb.SessionOptions(name="kept"), target=f"unix:{daemon.socket}") as session:
            page.watches("kept")
            reply = segmented(session, 0)
            page.wait(lambda: shows(page, reply), "a frame")
            run("pair", "desk", "--dir", folder, "--revoke")
            daemon.process.send_signal(signal.SIGHUP)
            page.wait(lambda: page.at("login-form").is_displayed(), "it asks again")
            assert "token" in page.text("login-error")
            assert page.at("stale").is_displayed() and shows(page, reply), "what was shown stays, and is not passed off as live"
        # Answers that refuse are errors to a browser, and no others came.
        assert all("401" in error for error in page.errors())


def asking(tmp_path: Path, role: str) -> tuple[Path, str, str]:
    """Where keys are, a token, and settings by which nobody on loopback has a role without one."""
    folder = tmp_path / "tls"
    made = run("pair", "desk", "--dir", folder, "--role", role, "--host", "localhost").stdout
    token = re.search(r"^ +([0-9a-f]{64})$", made, re.M)[1]
    return folder, token, f'[auth]\ntokens = "{folder}/tokens.toml"\nloopback = "none"\n'


def test_logging_out_ends_it(tmp_path, page):
    _, token, settings = asking(tmp_path, "infer")
    with Seen(tmp_path / "daemon", settings=settings) as daemon:
        page.open(daemon.url)
        page.wait(lambda: page.at("login-form").is_displayed(), "a form")
        page.at("token").send_keys(token, Keys.ENTER)
        page.wait(lambda: page.at("logout").is_displayed(), "let in")
        # The cookie reads, whatever the token may do elsewhere.
        script = "return fetch('/v1/sessions', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{}'}).then((a) => a.status)"
        assert page.driver.execute_script(script) in (403, 404, 405)
        page.at("logout").click()
        page.wait(lambda: page.at("login-form").is_displayed(), "a form again")
        assert page.driver.get_cookies() == []


def test_over_tls_the_cookie_is_this_host_s_alone(tmp_path, page):
    folder, token, _ = asking(tmp_path, "observe")
    port = free_port()
    tls = f'certificate = "{folder}/server.pem"\nkey = "{folder}/server-key.pem"\n'
    settings = f'http = ["tls://127.0.0.1:{port}"]\nmodels = ["{BUNDLED_MODEL}"]\n[tls]\n{tls}[auth]\ntokens = "{folder}/tokens.toml"\n'
    # Chromium knows nothing of the CA that `pair` made.
    page.driver.execute_cdp_cmd("Security.setIgnoreCertificateErrors", {"ignore": True})
    with Daemon(tmp_path / "daemon", settings + '[engine]\nkind = "rten"\n') as daemon:
        page.open(f"https://127.0.0.1:{port}/")
        page.wait(lambda: page.at("login-form").is_displayed(), "over TLS nobody is known by where they come from")
        page.at("token").send_keys(token, Keys.ENTER)
        page.wait(lambda: "No session is open" in page.text("none"), "let in")
        (cookie,) = page.driver.get_cookies()
        assert cookie["name"].startswith("__Host-") and cookie["secure"] and cookie["httpOnly"]
        with live(daemon, "far away") as session:
            page.watches("far away")
            reply = segmented(session, 0)
            page.wait(lambda: shows(page, reply), "a frame over HTTP/2")


def test_a_lost_connection_is_said_and_found_again(tmp_path, page):
    first = Seen(tmp_path / "one")
    try:
        page.open(first.url)
        with live(first, "before") as session:
            page.watches("before")
            reply = segmented(session, 0)
            page.wait(lambda: shows(page, reply), "a frame")
            first.process.kill()
            page.wait(lambda: "connection to the daemon is lost" in page.text("lost"), "it says so")
            assert page.at("stale").is_displayed() and shows(page, reply)
    finally:
        first.process.kill()
        first.process.wait()
    with Seen(tmp_path / "two", port=first.port) as second, live(second, "after") as session:
        page.watches("after")
        assert not page.at("lost").is_displayed()
        reply = segmented(session, 1)
        page.wait(lambda: shows(page, reply), "a frame")


def test_a_curve_that_comes_again_is_drawn_as_before(tmp_path, page):
    with Seen(tmp_path) as daemon, Session(daemon, pb.SessionOptions(name="night")) as session:
        page.open(daemon.url)
        page.watches("night")
        counts = []
        for height in (1022, 400, 700):
            counts.append(session.segment(raw(demo_frame()[:height], id=height)).segmentation.summary.count)
            ends = f"from {counts[0]} to {counts[-1]}"
            page.wait(lambda ends=ends: ends in page.at("count-curve").get_attribute("aria-label"), "its point")
            time.sleep(1.1)  # A point a second.
        assert len(set(counts)) == 3
        curve = 'document.getElementById("count-curve")'
        drawn = page.driver.execute_script(f"return {curve}.toDataURL()")
        # Silent until the page gives the connection up; the session is another one's.
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            page.wait(lambda: page.at("lost").is_displayed(), "the connection is lost")
            page.driver.execute_script(f"{curve}.width = {curve}.width")
        finally:
            daemon.process.send_signal(signal.SIGCONT)
        page.wait(lambda: not page.at("lost").is_displayed(), "it is back")
        page.wait(lambda: page.driver.execute_script(f"return {curve}.toDataURL()") == drawn, "the same curve")


@pytest.mark.parametrize("light", ["dark", "red", "light"])
def test_it_is_accessible(seen, page, light):
    """By axe-core's rules, WCAG 2.2 AA among them; contrast too, in every light."""
    if not AXE.exists():
        skip(f"no {AXE}: tools/check fetches it")
    page.open(seen.url)
    page.light(light)
    with live(seen, "accessible") as session:
        page.watches("accessible")
        reply = segmented(session, 0)
        page.wait(lambda: shows(page, reply), "a frame")
        for width in (1500, 420):
            page.driver.set_window_size(width, 1000)
            page.rests()
            overflow = page.driver.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert overflow <= 0, "nothing sticks out at the side"
            page.driver.execute_script(AXE.read_text())
            found = page.driver.execute_async_script("axe.run().then((found) => arguments[0](found.violations))")
            told = [(each["id"], each["help"], [node["html"][:200] for node in each["nodes"]][:3]) for each in found]
            assert not told, told
