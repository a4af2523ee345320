"""`vivavoce transcribe`: what goes in, what comes out where, and with which exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from vivavoce.core import ExitCode

from .conftest import Command, Ran

Record = Callable[..., Path]


def test_text_goes_to_standard_output_and_nothing_else_anywhere(vivavoce: Command, record: Record) -> None:
    record("a.wav", 1.5)

    assert vivavoce("transcribe", "a.wav") == Ran(0, "word0 word1 word2\n", "")


def test_the_options_reach_the_model(vivavoce: Command, record: Record) -> None:
    record("a.wav")

    options = ("--model", "some/model", "--device", "cpu", "--dtype", "float16", "--batch-size", "5")
    more = ("--keyterm", "one", "--keyterm", "two:3", "--seed", "7", "--temperature", "0.5", "--guard", "drop")
    ran = vivavoce("transcribe", "a.wav", *options, *more, mood="loud")

    told = {
        "batch_size": 1, "device": "cpu", "dtype": "float16", "guard": "drop", "key_terms": ["one", "two:3"],
        "seed": 7, "temperature": 0.5,
    }  # fmt: skip
    assert ran.err == f"loaded some/model {sorted(told.items())}\n"


def test_what_is_not_said_is_left_to_the_model(vivavoce: Command, record: Record) -> None:
    record("a.wav")

    ran = vivavoce("transcribe", "a.wav", mood="loud")

    told = {
        "batch_size": 1, "device": "auto", "dtype": None, "guard": "flag", "key_terms": (), "seed": 0,
        "temperature": None,
    }  # fmt: skip
    assert ran.err == f"loaded None {sorted(told.items())}\n"


def test_json_of_one_file_is_an_object(vivavoce: Command, record: Record) -> None:
    record("a.wav", 1.0)

    assert json.loads(vivavoce("transcribe", "a.wav", "--format", "json").out) == {
        "file": "a.wav",
        "model": "stand-in",
        "duration": 1.0,
        "text": "word0 word1",
        "words": [
            {"text": "word0", "start": 0.0, "stop": 0.25, "confidence": 0.9},
            {"text": "word1", "start": 0.5, "stop": 0.75, "confidence": 0.9},
        ],
    }


def test_json_of_several_files_is_an_array_in_input_order(vivavoce: Command, record: Record) -> None:
    for name in ("b.wav", "a.wav", "c.flac"):
        record(name)

    ran = vivavoce("transcribe", "b.wav", "a.wav", "c.flac", "--format", "json", mood="reverse")

    assert [item["file"] for item in json.loads(ran.out)] == ["b.wav", "a.wav", "c.flac"]


def test_jsonl_is_an_object_a_line(vivavoce: Command, record: Record) -> None:
    record("a.wav")
    record("b.wav")

    lines = vivavoce("transcribe", "a.wav", "b.wav", "--format", "jsonl").out.splitlines()

    assert [json.loads(line)["file"] for line in lines] == ["a.wav", "b.wav"]


def test_texts_of_several_files_have_headings(vivavoce: Command, record: Record) -> None:
    record("a.wav", 0.5)
    record("b.wav", 1.0)

    ran = vivavoce("transcribe", "a.wav", "b.wav", mood="reverse")

    assert ran.out == "==> a.wav <==\nword0\n\n==> b.wav <==\nword0 word1\n"


def test_a_table_of_several_files_says_which(vivavoce: Command, record: Record) -> None:
    record("a.wav", 0.5)
    record("b.wav", 0.5)

    assert vivavoce("transcribe", "a.wav", "b.wav", "--format", "tsv").out == (
        "file\tstart\tstop\ttext\tconfidence\na.wav\t0.000\t0.250\tword0\t0.9000\nb.wav\t0.000\t0.250\tword0\t0.9000\n"
    )


def test_vad_is_refused_where_the_model_hears_no_pauses(vivavoce: Command, record: Record) -> None:
    record("a.wav")
    ran = vivavoce("transcribe", "a.wav", "--vad", mood="deaf")
    assert (ran.code, ran.out) == (ExitCode.UNSUPPORTED, "")
    assert ran.err == "vivavoce: --vad: stand-in has no heads that hear pauses\n"


def test_vad_breaks_the_text_at_turn_ends_and_lists_them_in_json(vivavoce: Command, record: Record) -> None:
    record("a.wav", 3.0)

    assert vivavoce("transcribe", "a.wav", "--vad").out == "word0 word1 word2 word3\nword4 word5\n"
    assert json.loads(vivavoce("transcribe", "a.wav", "--vad", "--format", "json").out)["turns"] == [1.9]


def test_timestamps_put_a_word_on_a_line(vivavoce: Command, record: Record) -> None:
    record("a.wav", 1.0)

    lines = vivavoce("transcribe", "a.wav", "--timestamps").out.splitlines()

    assert [line.split() for line in lines] == [["0.000", "0.250", "word0"], ["0.500", "0.750", "word1"]]


def test_timestamps_by_turns_leave_a_line_between(vivavoce: Command, record: Record) -> None:
    record("a.wav", 3.0)

    lines = vivavoce("transcribe", "a.wav", "--timestamps", "--vad").out.splitlines()

    assert [line.split()[-1:] for line in lines[3:6]] == [["word3"], [], ["word4"]]


# --- folders and standard input ---


def test_a_folder_is_searched_for_audio_in_order(vivavoce: Command, record: Record, tmp_path: Path) -> None:
    for name in ("talks/b.wav", "talks/A.FLAC", "talks/day 2/c.ogg", "talks/.hidden.wav"):
        record(name)
    (tmp_path / "talks/notes.txt").write_text("not audio")

    ran = vivavoce("transcribe", "talks", "--format", "json")

    assert [item["file"] for item in json.loads(ran.out)] == ["talks/A.FLAC", "talks/b.wav", "talks/day 2/c.ogg"]
    assert (ran.code, ran.err) == (0, "")


def test_a_folder_without_audio_is_an_error(vivavoce: Command, tmp_path: Path) -> None:
    (tmp_path / "talks").mkdir()
    (tmp_path / "talks/notes.txt").write_text("not audio")

    assert vivavoce("transcribe", "talks") == Ran(3, "", "vivavoce: talks: no audio files in this folder\n")


def test_a_dash_is_a_file_on_standard_input(vivavoce: Command, record: Record) -> None:
    audio = record("a.wav", 1.0).read_bytes()

    ran = vivavoce("transcribe", "-", "--format", "json", stdin=audio)

    assert json.loads(ran.out)["file"] == "-"
    assert json.loads(ran.out)["text"] == "word0 word1"


def test_an_empty_name_is_no_folder(vivavoce: Command, record: Record) -> None:
    """As `vivavoce transcribe "$FILE"` has it where FILE is not set."""
    record("a.wav")

    assert vivavoce("transcribe", "") == Ran(ExitCode.FILE_NOT_FOUND, "", "vivavoce: '': no file has an empty name\n")


def test_empty_standard_input_is_an_error(vivavoce: Command) -> None:
    assert vivavoce("transcribe", "-") == Ran(4, "", "vivavoce: -: the file is empty (0 bytes)\n")


# --- --output ---


def test_output_to_a_file(vivavoce: Command, record: Record, tmp_path: Path) -> None:
    record("a.wav", 0.5)

    assert vivavoce("transcribe", "a.wav", "--output", "a.srt", "--format", "srt") == Ran(0, "", "")
    assert (tmp_path / "a.srt").read_text() == "1\n00:00:00,000 --> 00:00:01,000\nword0\n"


@pytest.mark.parametrize(
    ("format", "suffix"),
    [("text", "txt"), ("json", "json"), ("jsonl", "jsonl"), ("srt", "srt"), ("vtt", "vtt"), ("tsv", "tsv")],
)
def test_output_to_a_folder_is_a_file_for_each_recording(
    vivavoce: Command, record: Record, tmp_path: Path, format: str, suffix: str
) -> None:
    record("talks/a.wav")
    record("talks/day 2/a.wav")
    record("b.flac")

    assert vivavoce("transcribe", "talks", "b.flac", "--format", format, "--output", "out/") == Ran(0, "", "")

    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    assert written == [f"a.{suffix}", f"b.{suffix}", f"day 2/a.{suffix}"]


def test_an_existing_folder_needs_no_slash(vivavoce: Command, record: Record, tmp_path: Path) -> None:
    record("a.wav", 0.5)
    (tmp_path / "out").mkdir()

    vivavoce("transcribe", "a.wav", "--output", "out")

    assert (tmp_path / "out/a.txt").read_text() == "word0\n"


def test_recordings_of_one_name_keep_their_suffix(vivavoce: Command, record: Record, tmp_path: Path) -> None:
    record("a.wav")
    record("a.flac")

    vivavoce("transcribe", "a.wav", "a.flac", "--output", "out/")

    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.flac.txt", "a.wav.txt"]


def test_two_recordings_never_share_a_result(vivavoce: Command, record: Record) -> None:
    record("x/a.wav")
    record("y/a.wav")

    ran = vivavoce("transcribe", "x/a.wav", "y/a.wav", "--output", "out/")

    assert (ran.code, ran.out) == (2, "")
    assert "x/a.wav and y/a.wav would both be written to out/a.wav.txt" in ran.err


def test_a_recording_is_never_overwritten(vivavoce: Command, record: Record) -> None:
    path = record("a.wav")
    before = path.read_bytes()

    ran = vivavoce("transcribe", "a.wav", "--output", "a.wav")

    assert ran.code == 2
    assert "a.wav is a recording and would be overwritten" in ran.err
    assert path.read_bytes() == before


@pytest.mark.parametrize("format", ["srt", "vtt"])
def test_subtitles_of_several_recordings_need_a_folder(vivavoce: Command, record: Record, format: str) -> None:
    record("a.wav")
    record("b.wav")

    ran = vivavoce("transcribe", "a.wav", "b.wav", "--format", format)

    assert (ran.code, ran.out) == (2, "")
    assert "--output FOLDER/" in ran.err


def test_output_that_cannot_be_written_is_one_line(vivavoce: Command, record: Record) -> None:
    record("a.wav")

    ran = vivavoce("transcribe", "a.wav", "--output", "nowhere/a.txt")

    assert ran == Ran(1, "", "vivavoce: nowhere/a.txt: cannot be written (No such file or directory)\n")


def test_a_failed_run_leaves_the_old_output(vivavoce: Command, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the old one")

    assert vivavoce("transcribe", "missing.wav", "--output", "a.txt").code == 3
    assert (tmp_path / "a.txt").read_text() == "the old one"


# --- what goes wrong ---


def test_a_bad_file_costs_one_line_and_not_the_others(vivavoce: Command, record: Record, tmp_path: Path) -> None:
    record("a.wav", 0.5)
    (tmp_path / "b.wav").write_bytes(b"")
    whole = record("c.flac", 4.0)
    whole.write_bytes(whole.read_bytes()[:-9_000])
    record("d.wav", 0.5)

    ran = vivavoce("transcribe", "a.wav", "b.wav", "c.flac", "missing.wav", "d.wav", "--format", "jsonl")

    assert [json.loads(line)["file"] for line in ran.out.splitlines()] == ["a.wav", "d.wav"]
    assert sorted(ran.err.splitlines())[0] == "vivavoce: b.wav: the file is empty (0 bytes)"
    assert sorted(ran.err.splitlines())[1].startswith("vivavoce: c.flac: truncated: ")
    assert sorted(ran.err.splitlines())[2] == "vivavoce: missing.wav: no such file"
    assert len(ran.err.splitlines()) == 3
    assert ran.code == 4


@pytest.mark.parametrize(("order", "code"), [(("missing.wav", "empty.wav"), 3), (("empty.wav", "missing.wav"), 4)])
def test_the_exit_code_is_that_of_the_first_failure(
    vivavoce: Command, tmp_path: Path, order: tuple[str, str], code: int
) -> None:
    (tmp_path / "empty.wav").touch()

    assert vivavoce("transcribe", *order).code == code


def test_json_of_several_failures_is_an_empty_array(vivavoce: Command) -> None:
    assert json.loads(vivavoce("transcribe", "x.wav", "y.wav", "--format", "json").out) == []


def test_silence_is_noted(vivavoce: Command, record: Record) -> None:
    record("a.wav", level=0)

    ran = vivavoce("transcribe", "a.wav", mood="nowords")

    assert ran == Ran(0, "\n", "vivavoce: a.wav: silence only (peak −inf dBFS)\n")


def test_a_model_that_does_not_load_is_one_line(vivavoce: Command, record: Record) -> None:
    record("a.wav")

    ran = vivavoce("transcribe", "a.wav", "--model", "x", mood="broken")

    assert ran == Ran(5, "", "vivavoce: x: config.json is missing\n")


@pytest.mark.parametrize("code", ["en", "EN", "en-US"])
def test_the_only_language_of_a_model_may_be_named(vivavoce: Command, record: Record, code: str) -> None:
    record("a.wav")

    assert vivavoce("transcribe", "a.wav", "--language", code).code == 0


def test_a_language_that_the_model_does_not_know(vivavoce: Command, record: Record) -> None:
    record("a.wav")

    ran = vivavoce("transcribe", "a.wav", "--language", "fr")

    assert ran == Ran(7, "", "vivavoce: --language fr: stand-in does not know it; it knows en\n")


def test_a_model_of_two_languages_cannot_be_told_which(vivavoce: Command, record: Record) -> None:
    record("a.wav")

    ran = vivavoce("transcribe", "a.wav", "--language", "fr", mood="en_fr")

    assert ran.code == 7
    assert "hears by itself which of en, fr is spoken" in ran.err
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("transcibe",), "No such command 'transcibe'; did you mean 'transcribe'?"),
        (("sing",), "No such command 'sing'; vivavoce --help lists those that there are"),
        (("transcribe",), "Missing argument"),
        (
            ("transcribe", "a.wav", "--format", "doc"),
            "'doc' is not one of 'text', 'json', 'jsonl', 'srt', 'vtt', 'tsv'",
        ),
        (("transcribe", "a.wav", "--device", "tpu"), "'tpu'"),
        (("transcribe", "a.wav", "--batch-size", "0"), "'--batch-size': must be at least 1, got '0'"),
        (("transcribe", "a.wav", "--batch-size", "two"), "'--batch-size': must be a whole number, got 'two'"),
        (("transcribe", "a.wav", "--temperature", "hot"), "'--temperature': must be a number, got 'hot'"),
        (("transcribe", "a.wav", "--temperature", "11"), "'--temperature': must be at most 10, got '11'"),
        (("transcribe", "a.wav", "--seed", str(2**63)), f"'--seed': must be at most {2**63 - 1}, got '{2**63}'"),
        (("stream", "a.wav"), "vivavoce: which server? give --url"),
        (("transcribe", "a.wav", "--colour"), "--colour"),
    ],
)
def test_wrong_usage_is_one_line(vivavoce: Command, arguments: tuple[str, ...], message: str) -> None:
    ran = vivavoce(*arguments)

    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert len(ran.err.splitlines()) == 1
