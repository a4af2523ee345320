"""Clips as codecs of few bits give them back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from vivavoce.core import SAMPLE_RATE
from vivavoce.train.corpus import Clip, Request, write_clip
from vivavoce.train.voices import codec

from ..example import EXAMPLE


def speech() -> np.ndarray:
    from vivavoce.train.audio import load

    return load(EXAMPLE)[: 3 * SAMPLE_RATE]


needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the program ffmpeg is missing")
CODECS = [
    codec.own,
    pytest.param(partial(codec.coded, name="opus", rate=8), marks=needs_ffmpeg),
    pytest.param(partial(codec.coded, name="mp3", rate=16), marks=needs_ffmpeg),
]


@pytest.mark.parametrize("through", CODECS, ids=["own", "opus", "mp3"])
def test_a_codec_changes_the_sound_but_not_when_it_is_heard(through: Callable[[np.ndarray], np.ndarray]) -> None:
    audio = speech()
    heard = through(audio)
    assert heard.shape == audio.shape
    assert np.abs(heard - audio).max() > 0.01
    envelopes = [np.abs(a[: len(a) // 240 * 240]).reshape(-1, 240).mean(1) for a in (audio, heard)]
    match = np.correlate(envelopes[1] - envelopes[1].mean(), envelopes[0] - envelopes[0].mean(), "full")
    assert abs(int(match.argmax()) - (len(envelopes[0]) - 1)) <= 1, "within 10 ms"


@needs_ffmpeg
def test_words_keep_their_times_and_held_out_clips_are_left_alone(tmp_path: Path) -> None:
    words = (("one", 0.1, 0.5),)
    for index, held in enumerate((False, True)):
        clip = Clip(speech(), words, "kokoro", f"voice{index}", "none", held)
        write_clip(tmp_path, f"take{index}-0", clip)
    jobs = list(codec.jobs(Request(tmp_path, None, 1)))
    assert len(jobs) == 1
    (made,) = jobs[0].make()
    assert made.words == words
    assert made.source == "codec"
    assert made.speaker.startswith("voice0*")


def test_leaving_a_speaker_out_leaves_what_codecs_made_of_him_out(tmp_path: Path) -> None:
    from vivavoce.train.library import Library

    for speaker in ("voice", "other"):
        clip = Clip(np.ones(2400, np.float32), (("one", 0.0, 0.1),), "codec", f"{speaker}*opus", "none")
        write_clip(tmp_path, f"{speaker}-0", clip)
    assert {clip.speaker for clip in Library(tmp_path, without=["voice"]).clips} == {"other*opus"}
