"""The guard: words that nobody can have said are told with the reason, or dropped where that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from vivavoce.core import (
    FRAME_SIZE,
    SAMPLE_RATE,
    Event,
    Token,
    TurnStarted,
    UnsupportedError,
    Word,
    WordDropped,
    WordEnded,
    WordStarted,
)
from vivavoce.session import SttProfile, SttSession
from vivavoce.session.frames import Samples

from .driver import MARK, PAD, PROFILE, Engine, always, audio, law, text, track, words
from .test_laws import Stream, streams

WHOLE = (
    "<unk>",
    "<s>",
    "</s>",
    "<pad>",
    *(f"▁{word}" for word in ["zero", "one", "two", "three", "four", "five", "six", "seven"]),
)
SPOKEN = {piece[1:]: index for index, piece in enumerate(WHOLE)}
MODEL = SttProfile(WHOLE, delay_seconds=0.5)
SECOND = SAMPLE_RATE


def syllables(seconds: float, level: float = 0.1) -> Samples:
    """Four bursts a second, as speech has."""
    at = np.arange(round(seconds * SECOND)) / SECOND
    return (level * np.sin(2 * np.pi * 200 * at) * (np.sin(2 * np.pi * 4 * at) > 0)).astype(np.float32)


def noise(seconds: float, level: float = 0.1) -> Samples:
    return (level * np.random.default_rng(1).standard_normal(round(seconds * SECOND))).astype(np.float32)


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * SECOND), np.float32)


def saying(*said: str, every: int, first: int = 20) -> list[int]:
    """One word every so many steps."""
    tokens = [PAD] * (first + every * len(said))
    for number, word in enumerate(said):
        tokens[first + every * number] = SPOKEN[word]
    return tokens


def heard(samples: Samples, tokens: Sequence[int], guard: str = "flag", model: SttProfile = MODEL) -> list[Event]:
    session = SttSession(model, guard=guard)
    session.push(samples)
    session.end()
    return Engine(session, tokens).run()


def reasons(events: Sequence[Event]) -> list[str | None]:
    return [word.suspect for word in words(events)]


def test_a_word_over_silence_is_suspect_and_told_so_as_soon_as_it_is_known() -> None:
    events = heard(silence(4), saying("one", "two", every=10))
    assert reasons(events) == ["silence", "silence"]
    assert [event.suspect for event in events if isinstance(event, WordStarted)] == ["silence", "silence"]
    assert text(events) == "one two"  # nothing is lost


@pytest.mark.parametrize(("level", "suspect"), [(1e-4, "silence"), (1e-3, None)])
def test_what_nobody_hears_is_silence(level: float, suspect: str | None) -> None:
    """-83 and -63 dBFS: a person who whispers far away is still heard."""
    assert reasons(heard(syllables(4, level), saying("one", every=10))) == [suspect]


def test_a_word_that_ends_before_silence_begins_is_not_suspect() -> None:
    """Its sound may lie a little before the start that the model gives: the text is behind the audio."""
    samples = np.concatenate([syllables(1.2), silence(3)])
    assert reasons(heard(samples, saying("one", every=10, first=23))) == [None]  # start 1.36 s
    assert reasons(heard(samples, saying("one", every=10, first=28))) == ["silence"]  # start 1.76 s


def test_a_word_without_any_audio_is_over_silence() -> None:
    model = replace(MODEL, silence_prefix_seconds=2.0)
    assert reasons(heard(silence(0), saying("one", every=10), model=model)) == ["silence"]


@pytest.mark.parametrize("level", [1e-2, 0.1, 0.5])
def test_a_word_over_steady_noise_is_suspect(level: float) -> None:
    assert reasons(heard(noise(4, level), saying("one", "two", every=10))) == ["steady", "steady"]


def test_speech_within_noise_is_not_steady_as_long_as_it_can_be_heard() -> None:
    """Bursts 3 dB below the noise."""
    samples = noise(4, 0.1) + syllables(4, 0.1)
    assert reasons(heard(samples, saying("one", "two", every=10))) == [None, None]


def test_a_word_that_the_end_brings_out_is_judged_by_what_there_was() -> None:
    assert reasons(heard(noise(1.6), saying("one", every=1, first=26))) == ["steady"]  # its start is the end


def test_a_word_in_the_first_moments_is_not_judged_by_how_steady_they_are() -> None:
    assert reasons(heard(noise(0.5), saying("one", every=1, first=6))) == [None]


def test_a_loop_that_is_faster_than_speech_is_suspect_from_its_eighth_word_on() -> None:
    """12.5 a second; a person who repeats a syllable does six or seven."""
    events = heard(syllables(4), saying(*["one"] * 20, every=1))
    assert reasons(events) == [None] * 7 + ["repeated"] * 13


def test_a_loop_of_several_words_is_found_too() -> None:
    events = heard(syllables(4), saying(*["one", "two", "three"] * 6, every=1))
    assert reasons(events) == [None] * 8 + ["repeated"] * 10


def test_repeats_at_the_pace_of_speech_are_believed_for_long() -> None:
    """Seven seven seven seven, and twice that: three words a second."""
    events = heard(syllables(8), saying(*["seven"] * 15, every=4))
    assert reasons(events) == [None] * 15
    pairs = heard(syllables(9), saying(*["one", "two"] * 7, every=4))
    assert reasons(pairs) == [None] * 14


def test_the_same_word_sixteen_times_in_a_row_is_a_loop_at_any_pace() -> None:
    events = heard(syllables(20), saying(*["seven"] * 20, every=10))
    assert reasons(events) == [None] * 15 + ["repeated"] * 5


def test_another_word_ends_a_loop() -> None:
    events = heard(syllables(8), saying(*["one"] * 10, "two", *["one"] * 7, every=1))
    assert reasons(events) == [None] * 7 + ["repeated"] * 3 + [None] * 8


def test_capitals_do_not_hide_a_loop() -> None:
    model = SttProfile(("<unk>", "<s>", "</s>", "<pad>", "▁No", "▁no"), delay_seconds=0.5)
    session = SttSession(model)
    session.push(syllables(4))
    session.end()
    events = Engine(session, [PAD] * 20 + [4, 5] * 5).run()
    assert reasons(events) == [None] * 7 + ["repeated"] * 3


def test_any_digits_at_the_pace_of_speech_are_believed() -> None:
    said = np.random.default_rng(2).choice(list(SPOKEN)[4:], 200).tolist()
    assert set(reasons(heard(syllables(70), saying(*said, every=4)))) == {None}


# --- dropping ---


def test_dropped_words_are_told_as_such_and_counted() -> None:
    samples = np.concatenate([silence(3), syllables(3)])
    session = SttSession(MODEL, guard="drop")
    session.push(samples)
    session.end()
    events = Engine(session, saying("one", "two", "three", every=14)).run()
    assert [event.word.text for event in events if isinstance(event, WordDropped)] == ["one", "two"]
    assert [event.word.suspect for event in events if isinstance(event, WordDropped)] == ["silence"] * 2
    assert [word.text for word in words(events)] == ["three"]
    assert text(events) == "three"  # no space before the first that is left
    assert session.dropped == 2


def test_a_dropped_word_begins_no_turn() -> None:
    session = SttSession(replace(MODEL, vad_heads=4), guard="drop")
    session.push(np.concatenate([silence(3), syllables(3)]))
    events = Engine(session, saying("one", "three", every=32), vad=always([0.0] * 4)).run()
    (three,) = [event for event in events if isinstance(event, WordStarted)]
    assert [event for event in events if isinstance(event, TurnStarted)] == [TurnStarted(three.start)]


def test_pieces_of_a_word_that_is_not_suspect_come_together_once_it_is_known() -> None:
    session = SttSession(PROFILE, guard="drop")
    session.push(audio(60))
    engine = Engine(session, track((17, [MARK, "▁hel", "lo"])))
    told = [(engine.index, [type(event) for event in events]) for _ in range(30) if (events := engine.run(1))]
    assert told == [(20, [Token, Token, WordStarted])]


def test_a_model_that_loops_over_speech_is_begun_afresh_when_its_words_are_dropped() -> None:
    """The watch that heals hears what the reader does."""
    session = SttSession(MODEL, guard="drop", heal_seconds=5.0)
    for _ in range(30):
        session.push(syllables(1))
    session.end()
    engine = Engine(session, saying(*["one"] * 400, every=1))
    while session.pending and not (reset := session.needs_reset()):
        engine.take()
        engine.step()
    assert reset


@pytest.mark.parametrize("guard", ["", "on", "DROP"])
def test_another_guard_is_refused(guard: str) -> None:
    with pytest.raises(UnsupportedError, match="guard must be flag or drop"):
        SttSession(MODEL, guard=guard)


# --- laws ---


def plain(event: Event) -> Event:
    """Without the suspicion."""
    match event:
        case WordStarted():
            return replace(event, suspect=None)
        case WordEnded(word) | WordDropped(word):
            return WordEnded(replace(word, suspect=None))
    return event


@law(streams(), st.sampled_from(["flag", "drop"]))
def test_no_word_is_ever_lost_and_none_is_changed(stream: Stream, guard: str) -> None:
    """Whatever it suspects: the words told and those dropped, in order, are those of the model."""

    def run(guard: str, loud: float) -> list[Event]:
        engine = Engine(SttSession(stream.model, guard=guard), stream.tokens, stream.vad)
        for number, chunk in enumerate(stream.audio):
            engine.session.push(chunk * np.float32(loud))
            stream.close(engine.session, number)
        return engine.run()

    def said(events: list[Event]) -> list[Word]:
        kept = [plain(event) for event in events if isinstance(event, WordEnded | WordDropped)]
        return words(kept)

    loud, silent = stream.run(), run(guard, 0.0)
    assert said(silent) == said(loud)
    if guard == "flag":
        assert [plain(event) for event in silent] == [plain(event) for event in loud]
        assert text(silent) == text(loud)
    else:
        dropped = [event for event in silent if isinstance(event, WordDropped)]
        assert all(event.word.suspect for event in dropped)
        assert not any(word.suspect for word in words(silent))
        assert len(text(silent).split()) <= len(text(loud).split())


@law(st.lists(st.floats(0, 2.0**127, width=32), min_size=1, max_size=20), st.integers(0, 40))
def test_audio_of_any_level_is_judged(levels: list[float], first: int) -> None:
    samples = np.repeat(np.array(levels, np.float32), FRAME_SIZE)
    events: Any = heard(samples, saying("one", "one", every=2, first=first))
    assert set(reasons(events)) <= {None, "silence", "steady"}
