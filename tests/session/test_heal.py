"""A model that has gone silent over speech is noticed, and nothing else is taken for it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from vivavoce.audio import load
from vivavoce.core import (
    FRAME_SIZE,
    SAMPLE_RATE,
    Event,
    Flushed,
    Healed,
    UnsupportedError,
    Word,
    WordEnded,
    WordStarted,
    seconds,
)
from vivavoce.session import SttSession
from vivavoce.session.frames import Samples
from vivavoce.session.heal import PATIENCE, levels, sounds_like_speech

from .driver import MARK, PROFILE, D, Engine, law, profile, started, track, words

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits.flac"
N = 4.0  # seconds
WAIT = N + PROFILE.delay_seconds + PATIENCE  # until it can be known
HOLD = 0.2  # seconds that one syllable of `syllables` takes


def syllables(duration: float, seed: int = 0) -> Samples:
    """Bursts of harmonics as of a voice, four a second, with pauses as between words; over a quiet room."""
    time = np.arange(round(duration * SAMPLE_RATE)) / SAMPLE_RATE
    rng = np.random.default_rng(seed)
    voice = sum(np.sin(2 * np.pi * 120 * h * time) / h for h in range(1, 12))
    burst = np.sin(np.pi * np.clip((time * 4 % 1) / (4 * HOLD), 0, 1)) ** 2
    talking = time % 1.5 < 1.25
    return (0.2 * voice * burst * talking + rng.normal(0, 1e-3, len(time))).astype(np.float32)


def healer(heal_seconds: float = N, **changes: object) -> SttSession:
    return SttSession(profile(**changes), heal_seconds=heal_seconds)


def run(session: SttSession, tokens: Iterable[int] = ()) -> tuple[list[Event], list[float]]:
    """Steps all that is ready as an owner does; the events, and the times after which the slot was opened afresh."""
    engine, resets = Engine(session, list(tokens)), []
    while session.pending:
        engine.run(1)
        if session.needs_reset():
            resets.append(engine.index * FRAME_SIZE / SAMPLE_RATE)
    return engine.events, resets


def heals(events: Iterable[Event]) -> list[Healed]:
    return [event for event in events if isinstance(event, Healed)]


def over(samples: Samples, heal_seconds: float = N) -> list[Healed]:
    """The healings of a model that says nothing over these samples."""
    session = healer(heal_seconds)
    session.push(samples.astype(np.float32))
    return heals(run(session)[0])


def test_speech_without_a_word_heals_and_asks_for_a_fresh_slot() -> None:
    session = healer()
    session.push(syllables(WAIT + 0.5))
    events, resets = run(session)
    (healed,) = heals(events)
    assert WAIT <= healed.time < WAIT + 2 * 0.08
    assert healed.silent == pytest.approx(healed.time, abs=0.02)
    assert resets == [pytest.approx(healed.time)]
    assert not session.needs_reset()


def test_the_count_begins_again_after_healing() -> None:
    times = [healed.time for healed in over(syllables(4 * WAIT))]
    assert len(times) == 3
    assert np.diff(times) == pytest.approx([times[0]] * 2, abs=1.2)


def test_without_heal_seconds_nothing_is_ever_healed() -> None:
    session = SttSession(PROFILE)
    session.push(syllables(60))
    events, resets = run(session)
    assert events == [] == resets


@pytest.mark.parametrize("seconds_", [-1.0, 0.5, float("nan"), float("inf")])
def test_a_duration_that_makes_no_sense_is_refused(seconds_: float) -> None:
    with pytest.raises(UnsupportedError, match=r"heal_seconds must be 0 \(off\) or at least 1, got"):
        healer(seconds_)


@law(st.lists(st.integers(0, 40), max_size=6), st.integers(0, 3))
def test_words_that_keep_coming_keep_it_from_healing(gaps: list[int], seed: int) -> None:
    """At most N seconds between two words, wherever in the speech."""
    said, at = [], D
    for gap in [*gaps, 0]:
        said.append((at, [MARK, "▁you"]))
        at += 2 + gap
    session = healer()
    session.push(syllables(seconds(at * FRAME_SIZE), seed))
    assert heals(run(session, track(*said))[0]) == []


def test_the_newest_speech_is_not_held_against_a_model_that_lags_behind_it() -> None:
    """Silence for long, then speech whose words may still come."""
    quiet = np.zeros(round(20 * SAMPLE_RATE), np.float32)
    recent = syllables(PROFILE.delay_seconds + PATIENCE + 0.2 * N)
    assert over(np.concatenate([quiet, recent])) == []


TIME = np.arange(40 * SAMPLE_RATE) / SAMPLE_RATE
WHITE = np.random.default_rng(0).normal(size=len(TIME))
RUMBLE = np.convolve(WHITE, np.hanning(400), "same")
NO_SPEECH = {
    "silence": 0 * TIME,
    "room": 0.003 * WHITE,
    "noise": 0.1 * WHITE,
    "deafening noise": 0.8 * WHITE,
    "rumble": 0.1 * RUMBLE / RUMBLE.std(),
    "hum": 0.2 * np.sin(2 * np.pi * 50 * TIME) + 0.05 * np.sin(2 * np.pi * 150 * TIME),
    "tone": 0.3 * np.sin(2 * np.pi * 440 * TIME),
    "ringing": 0.3 * np.sin(2 * np.pi * 425 * TIME) * (TIME % 5 < 1),
    "fan": 0.1 * WHITE * (1 + 0.3 * np.sin(2 * np.pi * 2 * TIME)),
    "waves": 0.1 * WHITE * (1 + 0.95 * np.sin(2 * np.pi * 0.2 * TIME)),
    "louder and louder": 0.3 * WHITE * TIME / 40,
    "typing": 0.3 * WHITE * np.exp(-(TIME * 6 % 1) / 6 / 0.006),
    "speech far away": 0.02 * syllables(40),
    "direct current": 0 * TIME + 0.5,
}


@pytest.mark.parametrize("name", NO_SPEECH)
@pytest.mark.parametrize("heal_seconds", [N, 10.0])
def test_what_is_no_speech_heals_nothing(name: str, heal_seconds: float) -> None:
    assert over(NO_SPEECH[name], heal_seconds) == []


@pytest.mark.parametrize("gain", [1.0, 0.3])
@pytest.mark.parametrize("noise", [0.0, 0.003])
def test_the_example_is_speech(gain: float, noise: float) -> None:
    samples = gain * load(EXAMPLE)
    assert over(samples + noise * WHITE[: len(samples)]) != []


def test_recorded_speech_is_speech(shared: Path) -> None:
    """Sentences of many speakers and two languages: what is judged, ten seconds at any time, is taken for speech."""
    paths = sorted(path for path in (shared / "data" / "speech").rglob("*") if path.suffix in (".wav", ".flac", ".mp3"))
    level = np.concatenate([levels(load(path)) for path in paths])
    judged = [sounds_like_speech(level[at : at + 500]) for at in range(0, len(level) - 500, 100)]
    assert len(judged) > 100
    assert np.mean(judged) > 0.97


def test_frames_in_flight_are_heard_before_the_fresh_slots_first() -> None:
    """Three frames ahead, whose steps begin a word: it comes, and is closed when the old context is left."""
    session = healer()
    session.push(syllables(WAIT + 3))
    engine = Engine(session)
    for _ in range(4):
        engine.take()
    while not heals(engine.events):
        engine.step()
        if not heals(engine.events):
            engine.take()
    with pytest.raises(AssertionError, match="opened afresh before the next frame"):
        session.take()
    assert session.needs_reset()
    engine.tokens = track((engine.index + 1, [MARK, "▁hel", "lo"]))
    healed = len(engine.events)
    for _ in range(3):
        engine.step()
    assert [type(event) for event in engine.events[healed:]].count(WordStarted) == 0  # it may still grow
    engine.take()
    engine.step()
    (word,) = words(engine.events)
    assert word.text == "hello"
    assert word.stop <= seconds(engine.index * FRAME_SIZE)


def test_the_clock_goes_on_and_the_fresh_context_first_speaks_of_nothing() -> None:
    """Tokens of the first frames are of audio that the new context did not hear; a later word has its right time."""
    session = healer()
    session.push(syllables(WAIT + 4))
    engine = Engine(session)
    while not heals(engine.events):
        engine.run(1)
    assert session.needs_reset()
    first = engine.index + 1  # text index of the fresh slot's first frame
    engine.tokens = track((first, ["▁b"]), (first + 20, [MARK, "▁you"]))
    session.end()
    engine.run()
    assert words(engine.events) == [
        Word(
            "you",
            seconds((first + 21 - D) * FRAME_SIZE),
            pytest.approx(seconds((first + 21 - D) * FRAME_SIZE) + 1),
            0.5,
        )
    ]
    assert started(engine.events) == ["you"]


def test_a_fresh_context_gets_its_silence_first_which_takes_no_time() -> None:
    session = healer(silence_prefix_seconds=0.4)
    session.push(syllables(WAIT + 2))
    engine = Engine(session)
    while not heals(engine.events):
        engine.run(1)
    session.needs_reset()
    before = len(engine.frames)
    for _ in range(6):
        engine.take()
    silent = [not frame.any() for frame in engine.frames[before:]]
    assert silent == [True] * 5 + [False]
    assert engine.frames[:5] == [pytest.approx(np.zeros(FRAME_SIZE))] * 5


def test_flushes_are_answered_and_end_nothing_that_heals() -> None:
    session = healer()
    session.push(syllables(WAIT / 2))
    session.flush(1)
    session.push(syllables(WAIT / 2 + 1))
    session.flush(2)
    session.end()
    events, resets = run(session)
    assert [event for event in events if isinstance(event, Flushed)] == [Flushed(1), Flushed(2)]
    assert len(heals(events)) == len(resets) == 1
    assert session.finished


def test_a_stream_that_has_nothing_more_to_say_is_not_healed() -> None:
    session = healer()
    session.push(syllables(WAIT + 0.2))
    session.end()
    engine = Engine(session)
    while session.pending:
        engine.take()
    while engine.index < len(engine.frames):
        engine.step()
    assert heals(engine.events) == []
    assert session.finished


def test_how_the_audio_was_cut_does_not_change_when_it_heals() -> None:
    samples = syllables(2 * WAIT + 1)
    whole = over(samples)
    session = healer()
    events: list[Event] = []
    engine = Engine(session)
    for at in range(0, len(samples), 997):
        session.push(samples[at : at + 997])
        while session.pending:
            events += engine.run(1)
            session.needs_reset()
    assert heals(events) == whole
    assert not any(isinstance(event, WordEnded) for event in events)


def test_samples_beyond_all_sound_are_measured_without_complaint() -> None:
    assert over(np.full(30 * SAMPLE_RATE, 3e38)) == []
