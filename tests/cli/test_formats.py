"""Transcripts as text, JSON, subtitles and tables."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vivavoce.cli.formats import Format, Result, Style, one
from vivavoce.core import Word
from vivavoce.subtitles import LONGEST, cues
from vivavoce.transcriber import Transcript

SPEECH = (
    Word("Good", 0.4, 0.6123, 0.98765),
    Word("morning.", 0.64, 1.1, 0.9),
    Word("R&D", 3.0, 3.3, 0.5),
    Word("is", 3.36, 3.5, 0.75),
    Word("<here>", 3.6, 4.2, 1.0),
)


def written(
    format: Format, *, words: tuple[Word, ...] = SPEECH, turns: tuple[float, ...] = (), vad: bool = False
) -> str:
    return one(Result("a.wav", "tiny", Transcript(words, 5.00049, turns)), Style(format, vad=vad))


def spoken(text: str, start: float = 0.0, pace: float = 0.3) -> list[Word]:
    return [Word(word, start + n * pace, start + n * pace + 0.8 * pace, 1.0) for n, word in enumerate(text.split())]


def test_text() -> None:
    assert written(Format.TEXT) == "Good morning. R&D is <here>\n"


def test_text_by_turns() -> None:
    assert written(Format.TEXT, turns=(2.0, 4.9), vad=True) == "Good morning.\nR&D is <here>\n"


def test_json_rounds_times_to_milliseconds() -> None:
    found = json.loads(written(Format.JSON, turns=(2.00049,), vad=True))

    assert found["duration"] == 5.0
    assert found["turns"] == [2.0]
    assert found["words"][0] == {"text": "Good", "start": 0.4, "stop": 0.612, "confidence": 0.9877}


def test_srt() -> None:
    assert written(Format.SRT) == (
        "1\n00:00:00,400 --> 00:00:01,400\nGood morning.\n\n2\n00:00:03,000 --> 00:00:04,200\nR&D is <here>\n"
    )


def test_vtt_escapes_what_would_be_markup() -> None:
    assert written(Format.VTT) == (
        "WEBVTT\n\n00:00:00.400 --> 00:00:01.400\nGood morning.\n\n"
        "00:00:03.000 --> 00:00:04.200\nR&amp;D is &lt;here&gt;\n"
    )


def test_tsv() -> None:
    lines = written(Format.TSV).splitlines()

    assert lines[:2] == ["start\tstop\ttext\tconfidence", "0.400\t0.612\tGood\t0.9877"]
    assert len(lines) == 6


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        (Format.TEXT, "\n"),
        (Format.SRT, ""),
        (Format.VTT, "WEBVTT\n"),
        (Format.TSV, "start\tstop\ttext\tconfidence\n"),
    ],
)
def test_a_transcript_without_words(format: Format, expected: str) -> None:
    assert written(format, words=()) == expected


def test_hours_in_subtitles() -> None:
    assert "03:25:45,678 --> " in written(Format.SRT, words=(Word("late", 12_345.678, 12_346.9, 1.0),))


def test_a_turn_end_splits_cues_even_without_a_pause() -> None:
    words = [*spoken("are you there", 0.0), *spoken("yes I am", 0.9)]

    assert [cue.lines for cue in cues(words, [0.85])] == [("are you there",), ("yes I am",)]


def test_a_full_cue_ends_at_a_sentence() -> None:
    words = spoken("this first sentence is a little longer than one line. and this is the second one", pace=0.2)

    assert " ".join(cues(words, [])[0].lines).endswith("line.")


def test_cues_do_not_last_into_the_next() -> None:
    words = [Word("long", 0.0, 5.0, 1.0), *spoken("next turn", 3.0)]

    first, second = cues(words, [2.0])

    assert first.stop == second.start


texts = st.text("abcdefgh.?", min_size=1, max_size=12)


@given(
    st.lists(st.tuples(texts, st.floats(0.0, 3.0), st.floats(0.01, 0.8)), max_size=60),
    st.lists(st.floats(0, 60), max_size=8).map(sorted),
)
def test_cues_keep_every_word_and_every_limit(spans: list[tuple[str, float, float]], turns: list[float]) -> None:
    words, clock = [], 0.0
    for text, pause, length in spans:
        words.append(Word(text, clock + pause, clock + pause + length, 1.0))
        clock += pause + length

    made = cues(words, turns)

    assert " ".join(" ".join(cue.lines) for cue in made) == " ".join(word.text for word in words)
    assert all(len(cue.lines) <= 2 and all(len(line) <= 42 for line in cue.lines) for cue in made)
    assert all(0 < cue.stop - cue.start <= LONGEST for cue in made)
    assert all(cue.stop <= after.start for cue, after in pairwise(made))


def test_subtitle_times_are_well_formed() -> None:
    shape = re.compile(r"\d\d:\d\d:\d\d,\d{3} --> \d\d:\d\d:\d\d,\d{3}")

    lines = written(Format.SRT, words=tuple(spoken("one two three " * 60))).splitlines()

    assert all(shape.fullmatch(line) for line in lines if "-->" in line)
