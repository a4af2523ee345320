"""The Python API of text to speech, on a small model with random weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from vivavoce import Synthesizer, Utterance, audio
from vivavoce.checkpoints import save_tts
from vivavoce.checkpoints.voice_file import read_voice
from vivavoce.core import (
    FRAME_SIZE,
    CheckpointError,
    Flush,
    Flushed,
    Speech,
    UnknownVoiceError,
    UnsupportedError,
    VivavoceError,
)
from vivavoce.session.utterance import utterance

from .speech_folder import SUFFIX, VOICES
from .speech_folder import speaking_folder as speaking_folder
from .speech_models import PLAIN, small_tts

TEXT = "viva voce by the living voice"
SLOTS = 2


@pytest.fixture(scope="module")
def synthesizer(speaking_folder: Path) -> Synthesizer:
    return Synthesizer.load(speaking_folder, device="cpu", batch_size=SLOTS)


@pytest.fixture(scope="module")
def said(synthesizer: Synthesizer) -> Utterance:
    return synthesizer.say(TEXT)


def same(one: Utterance, other: Utterance) -> bool:
    """But for rounding, which depends on how many streams share a step."""
    return one.words == other.words and np.allclose(one.samples, other.samples, rtol=0, atol=1e-4)


def test_a_text_becomes_audio_with_every_word_in_its_place(said: Utterance) -> None:
    assert said.samples.dtype == np.float32
    assert said.samples.shape == (round(said.duration * 24_000),)
    assert len(said.samples) % FRAME_SIZE == 0
    assert np.abs(said.samples).max() <= 0.99
    assert (said.text, len(said)) == (TEXT, 6)
    starts = [word.start for word in said]
    assert starts == sorted(starts)
    assert all(0 <= word.start < word.stop <= said.duration for word in said)


def test_the_same_is_said_however_the_text_comes_and_whatever_else_is_said(
    synthesizer: Synthesizer, said: Utterance
) -> None:
    assert same(utterance(synthesizer.stream(list(TEXT))), said)
    assert same(utterance(synthesizer.stream(TEXT)), said)
    for other in synthesizer.say_all([TEXT, "by the voice", TEXT, "", TEXT])[::2]:
        assert same(other, said)


def test_a_flush_speaks_what_was_given_to_its_end_before_more_is_asked_for(
    synthesizer: Synthesizer, said: Utterance
) -> None:
    heard: list[object] = []

    def texts() -> Iterator[str | Flush]:
        yield Flush("nothing")
        yield TEXT[:20]
        yield TEXT[20:]
        yield Flush("all")
        assert heard[0] == Flushed("nothing")
        assert heard[-1] == Flushed("all")
        assert same(utterance(heard[1:-1]), said)  # type: ignore[arg-type]
        yield TEXT

    for event in synthesizer.stream(texts()):
        heard += [event]
    again = utterance(heard[heard.index(Flushed("all")) + 1 :])  # type: ignore[arg-type]
    np.testing.assert_allclose(again.samples, said.samples, atol=1e-4)
    assert [word.start for word in again] == pytest.approx([said.duration + word.start for word in said])


def test_a_seed_a_temperature_and_a_voice_change_the_audio(synthesizer: Synthesizer, said: Utterance) -> None:
    assert synthesizer.voices == VOICES
    assert synthesizer.voice == VOICES[0]
    assert same(synthesizer.say(TEXT, voice=VOICES[0]), said)
    assert not same(synthesizer.say(TEXT, voice=VOICES[1]), said)
    assert not same(synthesizer.say(TEXT, seed=1), said)
    greedy = [synthesizer.say(TEXT, temperature=0.0, seed=seed) for seed in (0, 1)]
    assert same(*greedy)


def test_a_voice_may_be_a_file_or_an_embedding(
    synthesizer: Synthesizer, speaking_folder: Path, said: Utterance
) -> None:
    path = speaking_folder / "voices" / f"{VOICES[1]}{SUFFIX}"
    sad = synthesizer.say(TEXT, voice=VOICES[1])
    assert same(synthesizer.say(TEXT, voice=path), sad)
    assert same(synthesizer.say(TEXT, voice=str(path)), sad)
    assert same(synthesizer.say(TEXT, voice=read_voice(path, 5, 12)), sad)
    assert not same(sad, said)


def test_audio_comes_while_text_is_still_to_come(synthesizer: Synthesizer) -> None:
    given, heard_after = 0, list[int]()

    def words() -> Iterator[str]:
        nonlocal given
        for word in TEXT.split() * 4:
            given += 1
            yield f"{word} "

    for event in synthesizer.stream(words()):
        if isinstance(event, Speech):
            heard_after.append(given)
    assert heard_after[0] < 24
    assert heard_after[-1] == 24


def test_a_text_without_a_word_is_no_audio(synthesizer: Synthesizer) -> None:
    for text in ("", "  \n "):
        said = synthesizer.say(text)
        assert (len(said.samples), said.words, said.duration) == (0, (), 0.0)


def test_a_break_is_silence_of_its_length_and_no_word(synthesizer: Synthesizer, said: Utterance) -> None:
    broken = synthesizer.say(TEXT.replace(" by", ' <break time="2s"/> by'))
    assert broken.text == TEXT
    assert broken.words[2].start - broken.words[1].stop == pytest.approx(2.0, abs=0.7)


def test_a_stream_that_is_left_gives_its_slot_back(synthesizer: Synthesizer, said: Utterance) -> None:
    streams = [synthesizer.stream([TEXT]) for _ in range(SLOTS)]
    for stream in streams:
        next(stream)
    with pytest.raises(VivavoceError, match="all 2 slots are taken"):
        synthesizer.say(TEXT)
    del stream
    streams.clear()
    assert same(synthesizer.say(TEXT), said)


def test_what_cannot_be_is_said_in_a_line(synthesizer: Synthesizer, said: Utterance, tmp_path: Path) -> None:
    with pytest.raises(UnknownVoiceError, match=r"'nobody' does not exist; there are 3, for example ada.wav"):
        synthesizer.say(TEXT, voice="nobody")
    with pytest.raises(UnsupportedError, match=r"a voice of this model is \[1 to 5, 12\], got \[6, 12\]"):
        synthesizer.say(TEXT, voice=np.zeros((6, 12), np.float32))
    audio.save(tmp_path / "me.wav", said.samples)
    with pytest.raises(UnknownVoiceError, match=r"me.wav: small takes no recording as its voice: the encoder"):
        synthesizer.say(TEXT, voice=str(tmp_path / "me.wav"))
    (tmp_path / "noise.safetensors").write_bytes(b"noise")
    with pytest.raises(UnknownVoiceError, match="not a readable safetensors file"):
        synthesizer.say(TEXT, voice=tmp_path / "noise.safetensors")
    with pytest.raises(UnsupportedError, match="temperature must be finite and not negative, got -1"):
        synthesizer.say(TEXT, temperature=-1)
    with pytest.raises(VivavoceError, match="text must be a str, got int"):
        synthesizer.say(5)  # type: ignore[arg-type]
    assert same(synthesizer.say(TEXT), said)
    with pytest.raises(CheckpointError, match="the default voice 'nobody'"):
        Synthesizer.load(synthesizer.engine.model.files["lm"].rpartition("/")[0], device="cpu", voice="nobody")


def test_a_model_without_voices_says_so_and_goes_on_from_a_recording(
    tokenizer: bytes, tmp_path: Path, said: Utterance
) -> None:
    save_tts(small_tts(tokenizer, PLAIN), tmp_path / "plain", dtype=torch.float32)
    plain = Synthesizer.load(tmp_path / "plain", device="cpu", batch_size=1)
    assert (plain.voices, plain.voice) == ((), None)
    unlike = plain.say(TEXT, temperature=0.0)
    assert unlike.text == TEXT
    audio.save(tmp_path / "me.wav", said.samples)
    like = plain.say(TEXT, temperature=0.0, voice=tmp_path / "me.wav")
    assert like.text == TEXT
    assert not same(like, unlike)
    with pytest.raises(UnknownVoiceError, match="there is no voice 'ada': plain has no voices to choose from"):
        plain.say(TEXT, voice="ada")
    with pytest.raises(UnsupportedError, match="plain takes no speaker embedding, but a recording"):
        plain.say(TEXT, voice=np.zeros((5, 12), np.float32))
