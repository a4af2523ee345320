"""`vivavoce say` and `voices`, with a small model whose weights are random: files, pipes, a speaker, a server."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from vivavoce import Synthesizer, Utterance, audio
from vivavoce.cli import main
from vivavoce.core import FRAME_SIZE, ExitCode

from ..serving import serving
from ..speech_folder import VOICES
from ..speech_folder import speaking_folder as speaking_folder

TEXT = "viva voce by the living voice"
SPEAKER = Path(__file__).parents[1] / "speaker"
KEY = "a-key"


@pytest.fixture(scope="module")
def model(speaking_folder: Path) -> str:
    return str(speaking_folder)


@pytest.fixture(scope="module")
def here(model: str) -> Utterance:
    return Synthesizer.load(model, device="cpu", batch_size=1).say(TEXT)


@pytest.fixture(scope="module")
def url(model: str) -> Iterator[str]:
    flags = ("--model", "none", "--tts-model", model, "--tts-slots", "2", "--api-keys", KEY)
    with serving(*flags, "--threads", "1", "--load-limit", "0") as url:
        yield url


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "vivavoce", "say", *map(str, arguments)]


def near(samples: np.ndarray, said: Utterance) -> bool:
    return len(samples) == len(said.samples) and np.abs(samples - said.samples).max() < 2e-3


@pytest.mark.parametrize("name", ["said.wav", "said.flac"])
def test_a_file_holds_what_was_said(model: str, here: Utterance, tmp_path: Path, name: str) -> None:
    assert main(["say", TEXT, "--model", model, "--output", str(tmp_path / name)]) == 0
    assert near(audio.load(tmp_path / name), here)


def test_a_format_for_a_name_that_tells_none(model: str, here: Utterance, tmp_path: Path) -> None:
    arguments = ["say", TEXT, "--model", model, "--output", str(tmp_path / "said"), "--format"]
    assert main([*arguments, "pcm_f32le"]) == 0
    assert near(np.fromfile(tmp_path / "said", "<f4"), here)
    assert main([*arguments, "opus"]) == 0
    assert len(audio.load(tmp_path / "said")) == len(here.samples)


def test_words_and_measures(model: str, here: Utterance, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "letter.txt"
    path.write_text(TEXT.replace(" ", "\n"))
    arguments = ["say", f"@{path}", "--model", model, "--output", str(tmp_path / "x.wav")]
    assert main([*arguments, "--word-times"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [(float(start), float(stop), text) for start, stop, text in lines] == [
        (pytest.approx(word.start), pytest.approx(word.stop), word.text) for word in here
    ]
    assert main([*arguments, "--json", "--voice", VOICES[1], "--seed", "3", "--temperature", "0.5"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["text"], told["voice"], told["model"]) == (TEXT, VOICES[1], "small")
    assert [word["text"] for word in told["words"]] == TEXT.split()
    assert told["audio_seconds"] == pytest.approx(len(audio.load(tmp_path / "x.wav")) / 24_000)
    assert 0 < told["first_audio_seconds"] <= told["wall_seconds"]
    assert told["rtf"] == pytest.approx(told["wall_seconds"] / told["audio_seconds"], rel=0.01)
    assert all(isinstance(fault, str) for fault in told["faults"])


def test_standard_input_is_spoken_while_it_arrives_and_standard_output_is_whole(model: str, here: Utterance) -> None:
    process = subprocess.Popen(  # without a buffer, in which `communicate` does not look for what was read ahead
        command("-", "--model", model, "--output", "-", "--format", "pcm_f32le"), bufsize=0,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin and process.stdout and process.stderr
    process.stdin.write(b"viva vo")
    process.stdin.flush()
    process.stdin.write(b"ce by the living ")
    process.stdin.flush()
    first = process.stdout.read(4 * FRAME_SIZE)  # while more is to come
    out, err = process.communicate(b"voice")
    assert (process.returncode, err) == (0, b"")
    assert near(np.frombuffer(first + out, "<f4"), here)


@pytest.mark.parametrize("served", [False, True], ids=["here", "by a server"])
def test_a_line_is_said_to_its_end_before_the_next_one_comes(
    model: str, url: str, here: Utterance, *, served: bool
) -> None:
    place = ["--url", url, "--key", KEY] if served else ["--model", model]
    process = subprocess.Popen(
        command("-", "--lines", *place, "--output", "-", "--format", "pcm_f32le"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin and process.stdout
    process.stdin.write(f"{TEXT}\n".encode())
    process.stdin.flush()
    first = process.stdout.read(4 * len(here.samples))
    assert near(np.frombuffer(first, "<f4"), here)
    out, _ = process.communicate(TEXT.encode())
    assert near(np.frombuffer(out, "<f4"), here)
    assert process.returncode == 0


def test_a_speaker_hears_it_to_the_end(
    model: str, here: Utterance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(SPEAKER)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setenv("SPEAKER_FILE", str(tmp_path / "heard"))
    both = ["--output", str(tmp_path / "said.flac"), "--play"]
    try:
        for arguments in ([], both, ["--device", "desk", "--prebuffer", "5000"]):
            assert main(["say", TEXT, "--model", model, *arguments]) == 0
            heard = np.fromfile(tmp_path / "heard", np.float32).reshape(-1, 2)[:, 0]
            np.testing.assert_allclose(heard[heard != 0], here.samples[here.samples != 0], atol=1e-4)
        assert near(audio.load(tmp_path / "said.flac"), here)
        assert main(["say", "--list-devices"]) == 0
        assert "*   1  Desk speaker  (2 channels, 24000 Hz)" in capsys.readouterr().out
        assert main(["say", TEXT, "--model", model, "--device", "kitchen"]) == ExitCode.UNSUPPORTED
        assert "--device kitchen is no output; there are 1 (Desk speaker)" in capsys.readouterr().err
    finally:
        sys.modules.pop("sounddevice", None)


def test_lines_that_are_typed_are_said_one_by_one(
    model: str, here: Utterance, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "lines"
    source.write_text(f"{TEXT}\n\n...\n{TEXT}\n")
    path = tmp_path / "said.wav"
    with source.open() as lines:
        monkeypatch.setattr(sys, "stdin", lines)
        assert main(["say", "--interactive", "--model", model, "--output", str(path), "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in told if line["text"] == TEXT] == [TEXT, TEXT]
    written = audio.load(path)
    assert near(written[: len(here.samples)], here)
    assert near(written[-len(here.samples) :], here)


def test_at_a_terminal_there_is_a_prompt_and_the_end_of_input_ends_it(model: str, tmp_path: Path) -> None:
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        command("-i", "--model", model, "--output", tmp_path / "said.wav", "--word-times"),
        stdin=end, stdout=end, stderr=end, env=os.environ | {"TERM": "dumb"},
    )  # fmt: skip
    os.close(end)
    shown = _until(terminal, "say> ")
    os.write(terminal, b"viva voce\n")
    shown += _until(terminal, "say> ")
    os.write(terminal, b"\x04")
    assert process.wait(60) == 0
    os.close(terminal)
    assert re.search(r"0\.\d+ +\d\.\d+  viva", shown)
    assert len(audio.load(tmp_path / "said.wav")) > FRAME_SIZE


def _until(terminal: int, text: str) -> str:
    shown = ""
    while text not in shown:
        shown += os.read(terminal, 65_536).decode(errors="replace")
    return shown


def test_an_interrupt_leaves_a_whole_file_of_what_was_said(model: str, tmp_path: Path) -> None:
    path = tmp_path / "said.wav"
    process = subprocess.Popen(
        command(f"{TEXT} " * 200, "--model", model, "--output", path, "--word-times"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    for _ in range(4):
        process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (ExitCode.INTERRUPTED, "vivavoce: interrupted\n")
    said = audio.load(path)
    assert len(said) % FRAME_SIZE == 0
    assert len(said) > FRAME_SIZE


def test_a_server_says_it_too(url: str, here: Utterance, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = ["--url", url, "--api-key", KEY]
    path = tmp_path / "said.wav"
    assert main(["say", TEXT, *server, "--output", str(path), "--json"]) == 0
    assert near(audio.load(path), here)
    told = json.loads(capsys.readouterr().out)
    assert [word["start"] for word in told["words"]] == pytest.approx([word.start for word in here])
    assert main(["voices", *server]) == 0
    assert capsys.readouterr().out == "".join(f"{mark} {name}\n" for mark, name in zip("*  ", VOICES, strict=True))
    refusals: list[tuple[list[str], int, str]] = [
        (["--url", url, "--key", "wrong"], ExitCode.FAILURE, "no valid key"),
        ([*server, "--model", "x"], ExitCode.USAGE, "--model and --voices are for a model in this process"),
        (["--url", "ws://127.0.0.1:9"], ExitCode.FAILURE, "connection refused: nothing listens there"),
        (["--url", f"{url}/nowhere", "--key", KEY], ExitCode.FAILURE, "no stream is at this path; there are /api/tts"),
    ]
    for arguments, code, message in refusals:
        assert main(["say", TEXT, *arguments, "--output", str(tmp_path / "no.wav")]) == code
        err = capsys.readouterr().err
        assert message in err
        assert len(err.splitlines()) == 1
    assert not (tmp_path / "no.wav").exists()
    assert main(["voices", "--url", url]) != 0


@pytest.mark.parametrize(
    "arguments",
    [
        [TEXT, "--voice", "nobody"], [TEXT, "--voice", "narrow.safetensors"], [TEXT, "--seed", str(2**70)],
        ["@nothing.txt"], ["@latin.txt"], ["()"], [" "], [TEXT, "--temperature", "-1"],
    ],
)  # fmt: skip
def test_the_exit_code_is_the_same_by_a_server_and_without(
    arguments: list[str], model: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("latin.txt").write_bytes(b"caf\xe9 noir")
    save_file({"speaker_wavs": np.zeros((1, 3, 5), np.float32)}, "narrow.safetensors")
    codes = [
        main(["say", *arguments, *place, "-o", "x.wav"]) for place in (["--model", model], ["--url", url, "--key", KEY])
    ]
    assert codes[0] == codes[1] != 0
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert not Path("x.wav").exists()


def test_who_can_speak(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["voices", "--model", model, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"voices": list(VOICES), "default": VOICES[0]}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], ExitCode.USAGE, "give a text, - or @FILE"),
        ([" "], ExitCode.USAGE, "nothing to say: the text is empty"),
        (["@nothing.txt"], ExitCode.FILE_NOT_FOUND, "nothing.txt: cannot be read (No such file or directory)"),
        (
            ["a", "-o", "missing/x.wav"],
            ExitCode.FAILURE,
            "missing/x.wav: cannot be written (there is no folder missing)",
        ),
        (["a", "-o", "."], ExitCode.UNSUPPORTED, ".: the name tells no format"),
        (["a", "-o", "x.mp5"], ExitCode.UNSUPPORTED, "x.mp5: the name tells no format"),
        (["a", "-o", "-", "--json"], ExitCode.USAGE, "--output - is audio"),
        (["a", "-o", "x.wav", "--json", "--word-times"], ExitCode.USAGE, "give --json or --word-times"),
        (["a", "--format", "wav"], ExitCode.USAGE, "--format is that of an --output"),
        (["a", "-i"], ExitCode.USAGE, "--interactive takes its lines itself"),
        (["a", "-o", "x.wav", "--model", "nowhere"], ExitCode.CHECKPOINT, "nowhere"),
        (["a", "-o", "x.wav", "--service", "unheard-of"], ExitCode.FAILURE, "--service unheard-of: not known"),
        (
            ["a", "-o", "x.wav", "--model", "SMALL", "--voice", "nobody"],
            ExitCode.UNSUPPORTED,
            "'nobody' does not exist",
        ),
        (["@bad.txt", "-o", "x.wav", "--model", "SMALL"], ExitCode.FAILURE, "bad.txt: not UTF-8 text"),
        (
            ["@empty.txt", "-o", "x.wav", "--model", "SMALL"],
            ExitCode.FAILURE,
            "nothing was said: the text has no words",
        ),
    ],
)
def test_what_goes_wrong_is_one_line(
    arguments: list[str], code: int, message: str, model: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("bad.txt").write_bytes(b"caf\xe9 noir")
    Path("empty.txt").write_text("\n \n")
    assert main(["say", *(model if argument == "SMALL" else argument for argument in arguments)]) == code
    told = capsys.readouterr()
    assert message in told.err
    assert (told.out, len(told.err.splitlines())) == ("", 1)
    assert not Path("x.wav").exists()
