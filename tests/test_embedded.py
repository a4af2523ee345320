"""The embedded model on recordings: what its card promises, with room for other machines' rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vivavoce import Transcriber
from vivavoce.checkpoints import SttModel, load_stt
from vivavoce.core import Flush, Flushed, TurnEnded, WordEnded
from vivavoce.settings import embedded
from vivavoce.train import evaluate
from vivavoce.train.corpus import Clip
from vivavoce.train.corpus import Request as CorpusRequest
from vivavoce.train.voices import source

from .example import EXAMPLE, SAID

STOPS = (5.06, 8.46, 10.62)  # where its three numbers end, seconds


@pytest.fixture(scope="module")
def model() -> SttModel:
    return load_stt(device="cpu")


@pytest.fixture(scope="module")
def transcriber(model: SttModel) -> Transcriber:
    return Transcriber(model, batch_size=16)


@pytest.fixture(scope="module")
def takes(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Takes 5 to 7 of every digit and speaker, cut to the word: never trained on."""
    request = CorpusRequest(tmp_path_factory.mktemp("corpus"), shared, 0)
    clips = [clip for job in source("fsdd")(request) if _take(job.key) in (5, 6, 7) for clip in job.make()]
    assert len(clips) == 150
    return clips


def _take(key: str) -> int:
    return int(key.rsplit("_", 1)[-1])


def test_it_reads_the_example(transcriber: Transcriber) -> None:
    assert transcriber.transcribe(EXAMPLE).text == SAID


def test_the_package_carries_it_in_25_megabytes() -> None:
    folder = embedded("stt")
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 25e6


def test_words_of_real_speakers_are_right_and_in_time(transcriber: Transcriber, takes: list[Clip]) -> None:
    """450 words, as in the card: the takes strung together three times, each time differently."""
    utterances = [utterance for seed in (1, 2, 3) for utterance in evaluate.strung(takes, seed)]
    score = evaluate.score(transcriber, utterances)
    assert score.words == 450
    assert score.wer <= 3.0
    assert score.start_error <= 0.040


@pytest.mark.parametrize(("dtype", "points"), [("int8", 0.2), ("int4", 0.5)])
def test_packed_weights_hear_as_well(dtype: str, points: float, transcriber: Transcriber, takes: list[Clip]) -> None:
    """Over 900 words, half of them in noise: one word in 450 is 0.2 points."""
    utterances = [utterance for seed in (1, 2, 3) for utterance in evaluate.strung(takes, seed)]
    utterances += evaluate.noisy(utterances, 5, seed=2)
    packed = Transcriber(load_stt(device="cpu", dtype=dtype), batch_size=16)
    assert evaluate.score(packed, utterances).wer <= evaluate.score(transcriber, utterances).wer + points


def test_the_eight_bits_of_a_gpu_hear_as_well(transcriber: Transcriber, takes: list[Clip]) -> None:
    """The weights that its kernels multiply with, which tests/engine compares with, in the full precision of a CPU."""
    pytest.importorskip("triton", reason="how a GPU packs needs Triton, which PyPI has for Linux")
    from vivavoce.engine.gpu.packed import PackedLinear

    utterances = [utterance for seed in (1, 2, 3) for utterance in evaluate.strung(takes, seed)]
    utterances += evaluate.noisy(utterances, 5, seed=2)
    rounded = load_stt(device="cpu")
    for part in rounded.lm.transformer.modules():
        if isinstance(part, torch.nn.Linear):
            part.weight = torch.nn.Parameter(PackedLinear(part).unpacked)
    heard = evaluate.score(Transcriber(rounded, batch_size=16), utterances)
    assert heard.wer <= evaluate.score(transcriber, utterances).wer + 0.2


def test_the_codec_is_understood_after_a_round_trip(
    model: SttModel, transcriber: Transcriber, takes: list[Clip]
) -> None:
    utterances = evaluate.strung(takes, seed=1)
    direct = evaluate.score(transcriber, utterances)
    again = evaluate.score(transcriber, evaluate.round_trip(model.mimi, utterances))
    assert again.wer - direct.wer <= 10.0


def test_silence_and_noise_hold_no_words(transcriber: Transcriber) -> None:
    assert evaluate.false_words_per_minute(transcriber, evaluate.silence_and_noise(seed=1)) == 0


def test_speech_without_digits_gives_few_words(transcriber: Transcriber, shared: Path, tmp_path: Path) -> None:
    """The held-out third of the recorded sentences."""
    jobs = source("speech")(CorpusRequest(tmp_path, shared, 0))
    clips = [clip for job in jobs for clip in job.make() if clip.held]
    assert len(clips) > 20
    assert evaluate.false_words_per_minute(transcriber, [clip.audio for clip in clips]) <= 5


def test_a_flush_answers_after_the_last_word_without_waiting_for_more_audio(transcriber: Transcriber) -> None:
    from vivavoce.audio import load

    audio = load(EXAMPLE)
    events = list(transcriber.stream([audio, Flush("end")]))
    answered = events.index(Flushed("end"))
    words = [event.word.text for event in events[:answered] if isinstance(event, WordEnded)]
    assert " ".join(words) == SAID
    assert not any(isinstance(event, WordEnded) for event in events[answered:])


def test_a_turn_ends_after_each_number_and_only_there(transcriber: Transcriber) -> None:
    """Three numbers with 0.8 s between them; `examples/README.md` has the times."""
    from vivavoce.audio import load

    audio = np.concatenate([load(EXAMPLE), np.zeros(5 * 24_000, np.float32)])
    turns = [event.time for event in transcriber.stream([audio]) if isinstance(event, TurnEnded)]
    assert len(turns) == 3
    ends = (turns[0] - STOPS[0], turns[1] - STOPS[1], turns[2] - STOPS[2])
    assert all(0.2 < late < 1.2 for late in ends)
