"""`vivavoce samples`: recordings brought into one form, checked, and annotated."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from vivavoce import audio
from vivavoce.core import ExitCode
from vivavoce.tools.manifest import read

from ..example import EXAMPLE, SAID
from ..serving import serving
from ..web import answering
from .conftest import Ran, Run

Record = Callable[..., Path]


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """record("a/b.wav", text) writes a second of stereo noise at 44.1 kHz, each name another, and its text beside."""

    def made(name: str, text: str | None = None) -> Path:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(sum(name.encode())).uniform(-0.3, 0.3, (44_100, 2))
        soundfile.write(path, noise, 44_100)
        if text is not None:
            path.with_suffix(".txt").write_text(text)
        return path

    return made


def told(ran: Ran) -> Any:
    return json.loads(ran.out)


def test_recordings_become_24_khz_mono_with_a_manifest(run: Run, record: Record, tmp_path: Path) -> None:
    record("one.wav", "what one says\n")
    record("deep/two.flac")
    ran = run("samples", "build", "in", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert [(one["id"], one["text"], one["new"]) for one in told(ran)["samples"]] == [
        ("two", None, True),
        ("one", "what one says", True),
    ]
    for sample in read(tmp_path / "samples/manifest.jsonl"):
        assert sample.path.parent == tmp_path / "samples"
        with av.open(str(sample.path)) as file:
            stream = file.streams.audio[0]
            assert (stream.rate, stream.channels, stream.codec_context.name) == (24_000, 1, "pcm_s16le")
        assert sample.duration == pytest.approx(1.0)
    assert run("samples", "verify", "samples/manifest.jsonl").out == (
        "two: no reference text\n1 of 2 samples are right\n"
    )


def test_names_that_meet_and_recordings_that_come_again(run: Run, record: Record, tmp_path: Path) -> None:
    """The Modal project wrote over samples of one name, and over the manifest (defect B-63)."""
    record("a/same.wav")
    assert run("samples", "build", "in").code == 0
    before = (tmp_path / "samples/same.wav").read_bytes()
    record("b/same.wav")
    ran = run("samples", "build", "in", "--json")
    assert [(one["id"], one["new"]) for one in told(ran)["samples"]] == [("same", False), ("same-2", True)]
    assert (tmp_path / "samples/same.wav").read_bytes() == before
    assert [sample.id for sample in read(tmp_path / "samples/manifest.jsonl")] == ["same", "same-2"]


def test_one_that_cannot_be_read_does_not_cost_the_others(run: Run, record: Record, tmp_path: Path) -> None:
    record("good.wav")
    (tmp_path / "in/bad.wav").write_bytes(b"nothing")
    ran = run("samples", "build", "in", "nowhere.wav")
    assert ran.code == ExitCode.INVALID_AUDIO
    assert ["bad.wav" in line or "nowhere.wav" in line for line in ran.err.splitlines()] == [True, True]
    assert [sample.id for sample in read(tmp_path / "samples/manifest.jsonl")] == ["good"]
    assert not [path for path in (tmp_path / "samples").iterdir() if "part" in path.name]


def test_a_model_writes_down_what_has_no_text(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(EXAMPLE, tmp_path / "in/digits.flac")
    assert run("samples", "build", "in", "--model", "stt-digits-en").code == 0
    (sample,) = read(tmp_path / "samples/manifest.jsonl")
    assert sample.text == SAID
    words = sample.times()
    assert words is not None
    assert [word for word, _, _ in words] == SAID.split()
    assert run("samples", "verify", "samples/manifest.jsonl").code == 0
    judged = told(run("eval", "samples/manifest.jsonl", "--json"))["summary"]
    assert (judged["wer"], judged["start_error"] < 0.001) == (0, True)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: path.write_bytes(path.read_bytes()[:-2]), "its sha256 differs"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "only a pointer"),
        (lambda path: soundfile.write(path, np.zeros(24_000), 24_000), "silence only"),
        (lambda path: soundfile.write(path, np.ones((8_000, 2)) / 2, 8_000), "8000 Hz and 2 channels"),
        (lambda path: audio.save(path, np.full(12_000, 0.1, np.float32)), "0.500 s long, 1.000 s by the manifest"),
        (lambda path: path.with_name("one.wav.words.json").write_text("[]"), "list of words is empty"),
        (lambda path: path.with_name("one.wav.words.json").write_text("{"), "not JSON"),
    ],
)
def test_what_is_wrong_with_a_sample_is_said(
    run: Run, record: Record, tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    record("one.wav", "text")
    run("samples", "build", "in")
    assert run("samples", "verify", "samples/manifest.jsonl").code == 0
    damage(tmp_path / "samples/one.wav")
    ran = run("samples", "verify", "samples/manifest.jsonl", "--json")
    assert ran.code == ExitCode.FAILURE
    assert any(said in fault["fault"] for fault in told(ran)["faults"]), told(ran)


@dataclass
class Api:
    """An API as OpenAI's documentation has it."""

    address: str = ""
    status: int = 200
    asked: list[tuple[str, str | None, bytes]] = field(default_factory=list)
    answer: object = None


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    api = Api()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            api.asked.append((self.path, self.headers["Authorization"], body))
            self.send_response(api.status)
            self.end_headers()
            self.wfile.write(json.dumps(api.answer).encode())

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    with answering(HTTPServer(("127.0.0.1", 0), Handler)) as url:
        api.address = f"{url}/v1"
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
        monkeypatch.setenv("OPENAI_BASE_URL", api.address)
        yield api


def test_an_api_is_asked_for_words_and_they_are_found(run: Run, record: Record, api: Api, tmp_path: Path) -> None:
    """The Modal project's script looked for them where they are not, and wrote empty lists (defect B-62)."""
    record("one.wav")
    record("two.wav", "has a text")
    run("samples", "build", "in")
    words = [{"word": "well", "start": 0.1, "end": 0.4}, {"word": "said", "start": 0.4, "end": 0.9}]
    api.answer = {"task": "transcribe", "text": " well said", "words": words, "segments": [{"id": 0}]}
    ran = run("samples", "annotate", "samples/manifest.jsonl", OPENAI_MODEL="whisper-9")
    assert (ran.code, ran.out) == (0, "one: well said\n")
    ((path, authorization, body),) = api.asked
    assert (path, authorization) == ("/v1/audio/transcriptions", "Bearer sk-1")
    for part in (b"whisper-9", b"verbose_json", b'name="timestamp_granularities[]"\r\n\r\nword', b"RIFF"):
        assert part in body
    one, two = read(tmp_path / "samples/manifest.jsonl")
    assert (one.text, two.text) == ("well said", "has a text")
    assert one.times() == (("well", 0.1, 0.4), ("said", 0.4, 0.9))
    assert (tmp_path / "samples/one.wav.txt").read_text() == "well said\n"
    assert run("samples", "annotate", "samples/manifest.jsonl", "--all", "--json").code == 0
    assert len(api.asked) == 3


def test_a_server_of_ours_is_such_an_api(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(EXAMPLE, tmp_path / "in/digits.flac")
    assert run("samples", "build", "in").code == 0
    monkeypatch.setenv("OPENAI_API_KEY", "none is asked for")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving("--tts-model", "none") as url:
        ran = run("samples", "annotate", "samples/manifest.jsonl", "--base-url", f"{url}/v1")
    assert (ran.code, ran.out) == (0, f"digits: {SAID}\n"), ran.err
    assert [word for word, _, _ in read(tmp_path / "samples/manifest.jsonl")[0].times() or ()] == SAID.split()


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [(401, {"error": "no"}, "answers 401"), (200, {"words": []}, "has no text"), (200, [], "is no object")],
)
def test_an_api_that_refuses(run: Run, record: Record, api: Api, status: int, answer: object, said: str) -> None:
    record("one.wav")
    run("samples", "build", "in")
    api.status, api.answer = status, answer
    ran = run("samples", "annotate", "samples/manifest.jsonl")
    assert (ran.code, ran.out) == (ExitCode.FAILURE, "")
    assert said in ran.err
    assert "sk-1" not in ran.err


def test_without_a_key_or_a_model_there_is_no_annotator(
    run: Run, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert run("samples", "annotate", "samples/manifest.jsonl").code == ExitCode.USAGE
