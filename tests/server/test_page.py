"""The page at /, in a real Chromium whose microphone hears a recording. Screenshots are left in build/page."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import threading
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vivavoce import audio, subtitles
from vivavoce.core import SAMPLE_RATE, Transcript, Word
from vivavoce.server import webpage

from ..client.proxy import Cutter
from ..example import EXAMPLE, WORDS
from ..serving import serving
from .dialects.dialogue import KEY
from .process import PATIENCE, Server

playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")

SHOTS = Path(__file__).parents[2] / "build" / "page"
TAKES = 3  # a microphone cannot be told to wait: a machine that is busy loses some of what it plays
LISTENED = 15.0  # seconds of a take; the recording begins after one
WATCH = """() => {
    window.told = [];
    const state = document.querySelector("#talk-state");
    new MutationObserver(() => told.push(state.textContent)).observe(state, { childList: true });
}"""  # what is said for a moment only is not missed
WIDTHS = {"wide": (1100, 800), "phone": (360, 740)}


# --- without a browser ---


@pytest.fixture(scope="module")
def locked() -> Iterator[Server]:
    """Speech to text alone, behind a key; it computes nothing."""
    with Server("--model", "null", "--api-keys", KEY) as server:
        server.wait_ready()
        yield server


def test_all_files_of_the_page_have_their_types_a_strict_policy_and_are_asked_for_again(locked: Server) -> None:
    types = {".js": "javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
    paths = {f"/page/{path.name}": path for path in webpage.FOLDER.iterdir()}
    for path, file in {"/": webpage.FOLDER / "index.html", **paths}.items():
        answer = locked.get(path)
        assert (answer.status, answer.body) == (200, file.read_bytes())
        assert types[file.suffix] in answer.headers["content-type"]
        assert answer.headers["cache-control"] == "no-cache"
        assert "default-src 'none'; script-src 'self'" in answer.headers["content-security-policy"]
        again = locked.get(path, {"If-None-Match": answer.headers["etag"]})
        assert (again.status, again.body) == (304, b"")
    assert locked.get("/page/../app.py").status == locked.get("/page/nothing.js").status == 404


def test_no_file_of_the_page_names_another_server() -> None:
    for path in webpage.FOLDER.iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")  # the name of a language
        assert not re.findall(r"(?:https?:)?//[\w-]+\.\w+", text), path.name


def _colours(block: str) -> dict[str, tuple[float, ...]]:
    found = re.findall(r"--([\w-]+): #(\w{6});", block)
    return {name: tuple(byte / 255 for byte in bytes.fromhex(digits)) for name, digits in found}


def _luminance(colour: tuple[float, ...]) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_the_contrast_that_wcag_asks_for(scheme: str) -> None:
    style = (webpage.FOLDER / "style.css").read_text()
    colours = _colours(style.split(":root {")[1 if scheme == "light" else 2].split("}")[0])
    pairs = [(text, ground) for text in ("ink", "muted", "accent", "calm", "bad") for ground in ("paper", "raised")]
    for text, ground in [*pairs, ("on-accent", "accent"), ("accent", "glow"), ("ink", "line"), ("paper", "ink")]:
        light, dark = sorted((_luminance(colours[text]), _luminance(colours[ground])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)


# --- in the browser ---


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving("--slots", "3", "--load-limit", "0") as url:
        yield url


@pytest.fixture(scope="module")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the fake microphone plays: a second of silence, the recording, silence."""
    speech = np.concatenate([np.zeros(SAMPLE_RATE), audio.load(EXAMPLE), np.zeros(20 * SAMPLE_RATE)])
    path = tmp_path_factory.mktemp("microphone") / "digits.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes((32_767 * speech).astype("<i2").tobytes())
    return path


@pytest.fixture(scope="module")
def chromium(microphone: Path) -> Iterator[Any]:
    program = shutil.which("chromium")
    if not program:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    flags = [
        "--no-sandbox",  # it is root in a container, and reads our own page
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}%noloop",
    ]
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Opens the page; whatever it complains about fails the test."""
    contexts, complaints = [], []

    def open_page(url: str, size: str = "wide", scheme: str = "light") -> Any:
        width, height = WIDTHS[size]
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        context.set_default_timeout(1000 * PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
        own = (url.partition("/#")[0], "blob:")
        page.on("request", lambda asked: None if asked.url.startswith(own) else complaints.append(asked.url))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


@contextmanager
def cutting(target: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """A proxy in a thread: its URL, and what cuts its connections."""
    cutter, loop, up = Cutter(target, iter([])), asyncio.new_event_loop(), threading.Event()
    over = asyncio.Event()

    async def run() -> None:
        async with cutter.running():
            up.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert up.wait(PATIENCE)
    try:
        yield f"http://127.0.0.1:{cutter.port}", lambda: loop.call_soon_threadsafe(cutter.cut)  # type: ignore[misc]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


def shoot(page: Any, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png")


def listened(page: Any, seconds: float) -> None:
    """Until the page's clock says so."""
    clock = "document.querySelector('#talk-time').textContent.split(':')"
    page.wait_for_function(f"least => {{ const [m, s] = {clock}; return 60 * +m + +s >= least }}", arg=seconds)


def test_the_words_on_the_page_are_the_words_said_though_the_connection_breaks(
    server: str, visit: Callable[..., Any]
) -> None:
    with cutting(server) as (url, cut):
        page = visit(url)
        for _ in range(TAKES):
            page.evaluate(WATCH)
            page.get_by_role("button", name="Talk", exact=True).click()
            listened(page, 6)
            cut()
            listened(page, 9)
            shoot(page, "talk-live")
            listened(page, LISTENED)
            page.get_by_role("button", name="Stop", exact=True).click()
            page.get_by_role("button", name="Talk", exact=True).wait_for()
            words = page.locator("#talk-words .word").all_inner_texts()
            assert "connection lost, trying again" in page.evaluate("told")
            if words == WORDS:
                break
    assert words == WORDS
    assert not page.locator("#talk-words .pending").count()
    page.locator("#talk-words .word").nth(3).hover()
    told = re.fullmatch(r"(\d+\.\d\d) – (\d+\.\d\d) s · (\d+) % sure", page.get_by_role("tooltip").inner_text())
    assert told
    assert 2 < float(told[1]) < float(told[2]) < 6
    shoot(page, "talk")
    with page.expect_download() as download:
        page.get_by_role("group", name="Save what was said").get_by_role("button", name="txt").click()
    assert download.value.suggested_filename == "talk.txt"
    assert Path(download.value.path()).read_text().split() == WORDS


def test_a_recording_has_its_words_a_player_and_all_formats(server: str, visit: Callable[..., Any]) -> None:
    page = visit(f"{server}/#file")
    page.set_input_files("#recording", EXAMPLE)
    playwright.expect(page.locator("#file-state")).to_have_text("22 words in 0:11")
    words = page.locator("#file-words .word")
    assert words.all_inner_texts() == WORDS
    words.nth(8).click()
    page.wait_for_function("document.querySelector('#audio').currentTime > 3.7")
    page.locator("#file-words .lit").wait_for()
    shoot(page, "file")
    page.evaluate("document.querySelector('#audio').pause()")
    words.nth(8).focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.textContent") == WORDS[9]
    assert page.get_by_role("tooltip").is_visible()
    found: dict[str, str] = {}
    for name in ("txt", "srt", "vtt", "json"):
        with page.expect_download() as download:
            page.get_by_role("group", name="Save the transcript").get_by_role("button", name=name).click()
        assert download.value.suggested_filename == f"digits.{name}"
        found[name] = Path(download.value.path()).read_text()
    told = json.loads(found["json"])
    transcript = Transcript(tuple(Word(**word) for word in told["words"]), told["duration"])
    assert (found["srt"], found["vtt"]) == (subtitles.srt(transcript), subtitles.vtt(transcript))
    assert found["txt"].split() == told["text"].split() == WORDS
    page.set_input_files("#recording", {"name": "no.wav", "mimeType": "audio/wav", "buffer": b"no audio"})
    page.get_by_role("alert").wait_for()


def test_what_is_typed_is_heard_and_its_words_light_up(server: str, visit: Callable[..., Any]) -> None:
    page = visit(f"{server}/#speak")
    page.get_by_label("What to say").fill("four one five two")
    page.keyboard.press("Control+Enter")
    page.locator("#said .lit").first.wait_for()
    shoot(page, "speak")
    playwright.expect(page.locator("#said .word")).to_have_text(["four", "one", "five", "two"])
    with page.expect_download() as download:
        page.get_by_role("link", name="Save WAV").click()
    spoken = audio.load(Path(download.value.path()))
    assert len(spoken) > SAMPLE_RATE
    assert np.abs(spoken).max() > 0.05
    page.get_by_label("What to say").fill("hello")
    page.get_by_role("button", name="Speak").click()
    playwright.expect(page.get_by_role("alert")).to_contain_text("hello")


def test_the_board_shows_what_the_server_does(server: str, visit: Callable[..., Any]) -> None:
    page = visit(f"{server}/#board")
    module = page.get_by_role("article").filter(has=page.get_by_role("heading", name="stt"))
    module.get_by_role("img", name="0 of 3 slots are taken").wait_for()
    talking = visit(server)
    talking.get_by_role("button", name="Talk", exact=True).click()
    module.get_by_role("img", name="1 of 3 slots are taken").wait_for()
    playwright.expect(module.locator(".step")).to_have_text(re.compile(r"\d+\.\d ms"))
    assert module.locator(".line").get_attribute("d")
    page.wait_for_timeout(2000)  # for a picture with a curve in it
    shoot(page, "board")
    talking.get_by_role("button", name="Stop", exact=True).click()
    module.get_by_role("img", name="0 of 3 slots are taken").wait_for()


def test_a_key_is_asked_for_kept_for_this_tab_alone_and_what_is_off_is_said(
    locked: Server, visit: Callable[..., Any]
) -> None:
    page = visit(locked.url)
    key = page.get_by_label("This server wants a key.")
    key.fill("wrong")
    key.press("Enter")
    playwright.expect(page.get_by_role("alert")).to_have_text("The key is not one of this server's")
    page.get_by_role("button", name="Talk", exact=True).click()
    playwright.expect(page.get_by_role("alert")).to_contain_text("the key is not one of this server's")
    shoot(page, "key")
    key.fill(KEY)
    key.press("Enter")
    page.get_by_role("button", name="Talk", exact=True).click()
    playwright.expect(page.locator("#talk-state")).to_have_text("listening")
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("tab", name="Speak").click()
    assert page.locator("#say-state").inner_text() == "Text to speech is off on this server."
    assert page.get_by_role("button", name="Speak").is_disabled()
    assert page.evaluate("[Object.keys(localStorage), document.cookie]") == [[], ""]


def test_tabs_are_walked_by_keys_and_everything_has_a_name(server: str, visit: Callable[..., Any]) -> None:
    page = visit(server)
    page.get_by_role("tab", name="Talk").focus()
    for key, name in [
        ("ArrowRight", "File"),
        ("End", "Board"),
        ("ArrowRight", "Talk"),
        ("ArrowLeft", "Board"),
        ("Home", "Talk"),
    ]:
        page.keyboard.press(key)
        assert (
            page.get_by_role("tab", selected=True).inner_text()
            == page.evaluate("document.activeElement.textContent")
            == name
        )
        assert page.get_by_role("tabpanel").count() == 1
    for name in ("Talk", "File", "Speak", "Board"):
        page.get_by_role("tab", name=name).click()
        tree = page.locator("body").aria_snapshot()
        assert not re.search(r"- (button|textbox|combobox|link|tabpanel|img|meter|group)(:|$)", tree, re.MULTILINE), (
            tree
        )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", WIDTHS)
def test_it_fits_a_phone_and_a_desk_by_day_and_by_night(
    server: str, visit: Callable[..., Any], size: str, scheme: str
) -> None:
    page = visit(server, size, scheme)
    for name in ("talk", "file", "speak", "board"):
        page.get_by_role("tab", name=name.capitalize()).click()
        if name == "board":
            page.get_by_role("article").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        shoot(page, f"{name}-{size}-{scheme}")
