"""The arithmetic of waiting: scripted delays on a clock that only jumps give exact numbers."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from vivavoce.bench import speaker
from vivavoce.bench.clip import Clip
from vivavoce.bench.speaker import Pass, Speaker
from vivavoce.core import Event, Token, VivavoceError, Word, WordEnded, WordStarted

from .clock import Dies, Script, run

CLIP = Clip("clip", np.zeros(25_000, np.float32), "two", onset=0.2)  # 13 frames and a bit: 1.041666… s
SAID: list[tuple[float, float, Event]] = [
    (0.5, 0.3, Token("two", 0.2)),
    (0.5, 0.35, WordStarted("two", 0.2, 0.9)),
    (CLIP.duration, 0.12, WordEnded(Word("two", 0.2, 0.6, 0.9))),
]
exactly = pytest.approx


def speak(script: Script, speed: float = 1.0, loops: int = 1) -> tuple[Speaker, float]:
    async def measured() -> tuple[Speaker, float]:
        speaker = await Speaker.speak(script, CLIP, speed, loops=loops)
        return speaker, asyncio.get_running_loop().time()

    return run(measured())


def test_every_message_leaves_when_its_last_sample_has_been_spoken() -> None:
    script = Script(SAID, 0.15)
    speak(script)
    times = [time for time, _ in script.sent]
    assert times == exactly([*(0.08 * frame for frame in range(1, 14)), 25_000 / 24_000])
    assert [samples for _, samples in script.sent] == [1920] * 13 + [40]


def test_the_waits_of_a_pass_are_those_of_the_script() -> None:
    (heard,) = speak(Script(SAID, 0.15))[0].passes
    assert heard.to_first_token() == exactly(0.56 + 0.3 - 0.08)  # 0.5 s are in the frame that ends at 0.56 s
    assert heard.speech_to_token() == exactly(0.56 + 0.3 - 0.2)
    assert heard.to_final() == exactly(0.12)
    assert heard.to_flushed() == exactly(0.15)
    assert (heard.tokens, heard.text) == (1, "two")


def test_text_that_was_there_before_the_end_of_speech_counts_as_negative_wait() -> None:
    (heard,) = speak(Script(SAID[:2], 0.15))[0].passes
    assert heard.to_final() == exactly(0.56 + 0.35 - CLIP.duration)


def test_a_pass_without_words_has_no_first_and_no_final_text() -> None:
    (heard,) = speak(Script([], 0.15))[0].passes
    assert (heard.to_first_token(), heard.speech_to_token(), heard.to_final()) == (None, None, None)
    assert heard.to_flushed() == exactly(0.15)


def test_speed_divides_the_time_of_speech_and_not_the_answers() -> None:
    speaker, taken = speak(Script([(0.5, 0.1, Token("two", 0.2))], 0.15), speed=4)
    (heard,) = speaker.passes
    assert taken == exactly(CLIP.duration / 4 + 0.15)
    assert heard.speech_to_token() == exactly(0.56 / 4 + 0.1 - 0.2 / 4)
    assert heard.to_flushed() == exactly(0.15)


def test_passes_follow_each_other_without_a_pause_whatever_the_answers_take() -> None:
    speaker, taken = speak(Script([], 0.4), loops=3)
    assert taken == exactly(3 * CLIP.duration + 0.4)
    assert [heard.began for heard in speaker.passes] == exactly([0, CLIP.duration, 2 * CLIP.duration])
    assert [heard.to_flushed() for heard in speaker.passes] == exactly([0.4] * 3)


def test_a_server_that_takes_too_long_to_take_audio_makes_it_late() -> None:
    speaker, _ = speak(Script([], 0.1, takes=0.1))  # 80 ms of audio every 100 ms
    assert speaker.late[:13] == exactly([0.1 + 0.02 * frame for frame in range(13)])


def test_a_stream_that_does_not_answer_is_given_up() -> None:
    with pytest.raises(VivavoceError, match=f"no answer for {speaker.SILENT:g} s"):
        speak(Script(SAID, None))


def test_what_ends_a_stream_is_told() -> None:
    with pytest.raises(VivavoceError, match="the server has failed"):
        speak(Dies(4))


def test_a_watcher_sees_each_pass_begin() -> None:
    seen: list[Pass] = []

    async def watched() -> None:
        await Speaker.speak(Script([], 0.1), CLIP, 1.0, loops=2, watch=seen.append)

    run(watched())
    assert [heard.first_sent for heard in seen] == exactly([0.08, CLIP.duration + 0.08])
