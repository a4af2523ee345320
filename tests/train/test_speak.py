"""The voice's recipe end to end, on strings of sung digits and for a handful of steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vivavoce.checkpoints import load_stt, load_tts
from vivavoce.checkpoints.voices import Voices
from vivavoce.core import FRAME_RATE, FRAME_SIZE, SAMPLE_RATE, TEXT_BOUNDARY, VivavoceError
from vivavoce.nn.delays import unskew
from vivavoce.nn.demux import demultiplex
from vivavoce.settings import embedded
from vivavoce.train.corpus import DIGITS, Clip, write_clip
from vivavoce.train.moonshine import digit_words
from vivavoce.train.speak.decoder import DecoderRun
from vivavoce.train.speak.export import export, own_codec
from vivavoce.train.speak.plan import run_stages
from vivavoce.train.speak.pool import Take, spoken_clips, takes
from vivavoce.train.speak.run import SpeakerRun
from vivavoce.train.speak.say import Line, options_for, say
from vivavoce.train.speak.sizes import DELAY_STEPS, LM, PIECES, VOICE_FRAMES, VOICES, tokenizer
from vivavoce.train.speak.tracks import STEPS, Speech, Teacher, columns_of, groups_of
from vivavoce.train.targets import IGNORE
from vivavoce.train.voices.speaking import script

from .conftest import sung

TEXT = ["four", "one,", "nine", "two", "seven."]


def string(speaker: str) -> Clip:
    """Five digits, with a pause after the comma."""
    parts, words, at = [], [], 0.0
    for word in TEXT:
        clip = sung(DIGITS.index(word.rstrip(",.")), 0.32)
        words.append((word, at, at + 0.32))
        parts += [clip.audio, np.zeros(int((0.3 if word[-1] in ",." else 0.04) * SAMPLE_RATE), np.float32)]
        at += len(parts[-2]) / SAMPLE_RATE + len(parts[-1]) / SAMPLE_RATE
    return Clip(np.concatenate(parts), tuple(words), "speaking", speaker, "none")


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("spoken")
    for speaker in VOICES:
        write_clip(root, f"{speaker}-0", string(speaker))
    return root


@pytest.fixture(scope="module")
def pool(spoken: Path) -> list[Take]:
    return list(takes(load_stt(device="cpu").mimi, spoken_clips(spoken), 2, 1))


def test_a_take_is_cut_at_its_pauses_and_keeps_its_words_times(pool: list[Take]) -> None:
    take = pool[0]
    first, second = groups_of(take)
    assert [w for w, _, _ in first.words] == TEXT[:2]
    assert [w for w, _, _ in second.words] == TEXT[2:]
    assert np.array_equal(np.concatenate([first.codes, second.codes]), take.codes)
    shift = len(first.codes) / FRAME_RATE
    assert second.words[0][1] + shift == pytest.approx(take.words[2][1])
    assert (first.first, first.last, second.first, second.last) == (True, False, False, True)


def test_words_are_fed_where_they_are_said_and_codes_come_later_by_the_delay(pool: list[Take]) -> None:
    take = pool[0]
    whole = groups_of(take)
    speech = Speech()
    teacher = Teacher(pool, 1)
    teacher._say(speech, whole[0], final=False)
    teacher._say(speech, whole[1], final=True)
    text, columns, choices = columns_of(speech)
    first, second = demultiplex(text, LM.text_card + 1)
    starts = (second == TEXT_BOUNDARY).nonzero()[:, 0].tolist()
    wanted = [round(start * FRAME_RATE) for _, start, _ in take.words]
    assert len(starts) == len(wanted) + 1  # and where the text runs out
    assert starts[:-1] == wanted
    assert [PIECES[i] for i in first.tolist() if i > 3] == [f"▁{word}" for word in TEXT]
    frames = unskew(columns, LM.delays)[DELAY_STEPS:]
    assert torch.equal(frames, torch.from_numpy(take.codes[:, : LM.n_q].astype(np.int64)))
    asked = choices != IGNORE
    assert not asked[:2].any()  # the initial padding is not the model's choice
    assert set(choices[asked].tolist()) == {0, 3}


def test_a_lesson_is_a_batch_that_the_model_can_be_taught_with(pool: list[Take]) -> None:
    lesson = Teacher(pool, 3).lesson(6)
    batch, steps = lesson.text.shape
    assert (batch, len(lesson.voices)) == (6, 6)
    assert steps <= STEPS + DELAY_STEPS + max(LM.delays)
    assert lesson.codes.shape == (6, steps, LM.n_q)
    assert int(lesson.text.max()) < (LM.text_card + 1) ** 2


def test_every_piece_is_a_word_of_its_own_whatever_its_case() -> None:
    pieces = tokenizer()
    assert [pieces.id_to_piece(i) for i in range(pieces.get_piece_size())] == list(PIECES)
    assert pieces.encode("Four") == pieces.encode("4") == [PIECES.index("▁four")]
    assert pieces.encode("9?") == pieces.encode("NINE!") == [PIECES.index("▁nine.")]
    assert pieces.encode("nine,") == [PIECES.index("▁nine,")]


def test_scripts_are_groups_that_marks_end_or_one_breath_and_end_with_a_full_stop() -> None:
    rng = np.random.default_rng(1)
    manners = set()
    for _ in range(50):
        words = script(rng)
        assert 1 <= len(words) <= 10
        if len(words) > 4:  # more than a group has
            manners.add("breath" if not any(word[-1] in ",." for word in words[:-1]) else "groups")
        assert words[-1].endswith(".")
        assert {word.rstrip(",.") for word in words} <= set(DIGITS)
    assert manners == {"breath", "groups"}


def test_the_decoder_learns_alone_and_goes_on_where_it_was(pool: list[Take], tmp_path: Path) -> None:
    mimi = load_stt(device="cpu").mimi
    before = {name: value.clone() for name, value in mimi.state_dict().items()}
    steps = DecoderRun(tmp_path, mimi, LM.n_q, 4)
    losses = list(steps.train(pool))
    assert {"wave", "fooled", "near", "critic"} <= {name for one in losses for name in one}
    assert all(np.isfinite(value) for one in losses for value in one.values())
    changed = {name for name, value in mimi.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith(("upsample", "decoder")) for name in changed)
    again = DecoderRun(tmp_path, load_stt(device="cpu").mimi, LM.n_q, 4)
    assert again.step == 4
    assert all(torch.equal(value, mimi.state_dict()[name]) for name, value in again.mimi.state_dict().items())


def test_an_interrupted_run_of_the_speaker_goes_on_where_its_checkpoint_was(pool: list[Take], tmp_path: Path) -> None:
    voices = {speaker: torch.randn(VOICE_FRAMES, 128) for speaker in VOICES}
    first = SpeakerRun(tmp_path, voices, 3)
    steps = first.train(pool)
    assert all(np.isfinite(value) for value in next(steps).values())
    first.save()
    again = SpeakerRun(tmp_path, voices, 3)
    assert again.step == 1
    for name, value in first.networks.state_dict().items():
        assert torch.equal(value, again.networks.state_dict()[name]), name
    assert len(list(again.train(pool))) == 2


def test_what_is_exported_loads_and_speaks_with_its_voices(spoken: Path, tmp_path: Path) -> None:
    voice = run_stages(spoken, tmp_path / "run", lambda *_: None, steps=1)
    export(voice.model, voice.speakers, tmp_path / "model")
    model = load_tts(tmp_path / "model", device="cpu")
    voices = Voices(tmp_path / "model" / "voices", model.config, model.voice_dim)
    assert voices.names == tuple(VOICES.values())
    lines = [Line("four one, two", name, options_for(model, voices.get(name), 1)) for name in voices.names]
    for one in say(model, lines):
        assert len(one.starts) == 3
        assert len(one.audio) % FRAME_SIZE == 0 and len(one.audio) >= 3 * FRAME_SIZE
        assert np.isfinite(one.audio).all()


def test_a_course_can_go_on_from_an_earlier_voice(spoken: Path, tmp_path: Path) -> None:
    earlier = load_tts(device="cpu", dtype="float32")
    ready = {name: value.clone() for name, value in (earlier.lm.state_dict() | earlier.mimi.state_dict()).items()}
    voice = run_stages(spoken, tmp_path / "run", lambda *_: None, steps=1, start=str(embedded("tts")))
    learnt = voice.model.lm.state_dict() | own_codec(voice.model.mimi).state_dict()
    assert learnt.keys() == ready.keys()
    moved = {name: float((learnt[name] - value).abs().max()) for name, value in ready.items() if value.numel()}
    assert 0 < max(moved.values()) < 1e-3  # one step of its own
    assert max(change for name, change in moved.items() if name.startswith("encoder")) == 0
    voices = Voices(embedded("tts") / "voices", earlier.config, earlier.voice_dim)
    for speaker, name in VOICES.items():
        assert torch.equal(voice.speakers[speaker], torch.from_numpy(voices.get(name).copy()))


def test_the_codec_can_be_the_one_beside(spoken: Path, tmp_path: Path) -> None:
    voice = run_stages(spoken, tmp_path / "run", lambda *_: None, steps=1)
    (tmp_path / "hears").mkdir()
    export(voice.model, voice.speakers, tmp_path / "speaks", beside="hears")
    assert not (tmp_path / "speaks" / "mimi.safetensors").exists()
    assert (tmp_path / "hears" / "mimi.safetensors").exists()


def test_a_corpus_of_others_has_nothing_to_learn_from(corpus: Path) -> None:
    with pytest.raises(VivavoceError, match="no clips of `train corpus --source speaking`"):
        spoken_clips(corpus)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("415-229.", "four one five two two nine"),
        ("For, to, won; ate!", "four two one eight"),
        ("It's nine", "it's nine"),
        ("", ""),
    ],
)
def test_what_a_recogniser_writes_is_read_digit_by_digit(text: str, words: str) -> None:
    assert " ".join(digit_words(text)) == words
