"""The stages that made the embedded voice: a decoder for its speakers, then the model that speaks its codes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vivavoce.checkpoints import TtsModel, load_stt, load_tts
from vivavoce.checkpoints.voices import Voices
from vivavoce.nn.mimi import Mimi

from .decoder import RATE as DECODER_RATE
from .decoder import DecoderRun
from .export import HEADROOM, model_of, scale, voices_of
from .pool import spoken_clips, takes
from .run import RATE as SPEAKER_RATE
from .run import SpeakerRun
from .sizes import CODEBOOKS, VOICES

Progress = Callable[[str, int, int, dict[str, float]], None]  # stage, step, steps, losses
DECODER_COPIES = 3  # of every clip, each at another place in its frames
LOGGED = 25  # steps


@dataclass(frozen=True)
class Course:
    """How long the stages are, and how fast they learn."""

    decoder_steps: int
    decoder_rate: float
    speaker_steps: int
    speaker_rate: float
    copies: int  # of every clip, for the language model


FROM_NOTHING = Course(1200, DECODER_RATE, 4000, SPEAKER_RATE, 24)
AGAIN = Course(0, DECODER_RATE, 330, 0.4 * SPEAKER_RATE, 4)  # from an earlier voice, whose decoder is kept


@dataclass(frozen=True)
class Voice:
    """What the stages give: the model, and its speakers as it is told of them, float32 [frames, dim]."""

    model: TtsModel
    speakers: dict[str, Tensor]


def run_stages(
    corpus: Path,
    out: Path,
    progress: Progress,
    steps: int | None = None,
    *,
    codec: str | None = None,
    start: str | None = None,
) -> Voice:
    """Run the stages that have not ended yet.

    They begin with the codec of the model `codec`, the embedded recogniser's when absent, and a language model that
    knows nothing; or, with `start`, with an earlier voice, whose course is shorter. `steps` shortens every stage, to
    try the recipe out. Raises VivavoceError when there is nothing to learn from.
    """
    torch.set_num_threads(1)  # a second thread on a busy machine costs more than it brings
    earlier, clips = None if start is None else _earlier(start), spoken_clips(corpus)
    mimi = load_stt(codec, device="cpu").mimi if earlier is None else earlier.model.mimi
    speakers = _speakers(out, mimi, corpus) if earlier is None else earlier.speakers
    course = FROM_NOTHING if earlier is None else AGAIN
    decoder = DecoderRun(out / "decoder", mimi, CODEBOOKS, steps or course.decoder_steps, course.decoder_rate)
    if decoder.step < decoder.steps:
        _log(out / "decoder", decoder, decoder.train(list(takes(mimi, clips, DECODER_COPIES, 1))), progress)
    speaker = SpeakerRun(out / "speaker", speakers, steps or course.speaker_steps, rate=course.speaker_rate)
    if earlier is not None:
        speaker.begin(earlier.model)
    if speaker.step < speaker.steps:
        pool = list(takes(mimi, clips, course.copies, 2, varied=True))
        _log(out / "speaker", speaker, speaker.train(pool), progress)
    return Voice(model_of(speaker, mimi.eval().requires_grad_(False)), speakers)


def _earlier(source: str) -> Voice:
    """A finished voice, with its decoder as loud as what it learns from."""
    model = load_tts(source, device="cpu", dtype="float32")
    scale(model.mimi, 1 / HEADROOM)
    voices = Voices(Path(model.files["lm"]).parent / "voices", model.config, model.voice_dim)
    return Voice(model, {speaker: torch.from_numpy(voices.get(name).copy()) for speaker, name in VOICES.items()})


def _speakers(out: Path, mimi: Mimi, corpus: Path) -> dict[str, Tensor]:
    """Made once: what the model is told of its speakers must not change when a run is resumed on a larger corpus."""
    path = out / "speakers.pt"
    if not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        torch.save(voices_of(mimi, spoken_clips(corpus)), path)
    found: dict[str, Tensor] = torch.load(path, weights_only=True)
    return found


def _log(folder: Path, run: DecoderRun | SpeakerRun, training: Iterator[dict[str, float]], progress: Progress) -> None:
    sums: dict[str, list[float]] = {}
    with (folder / "log.jsonl").open("a") as log:
        for losses in training:
            progress(folder.name, run.step, run.steps, losses)
            for key, value in losses.items():
                sums.setdefault(key, []).append(value)
            if run.step % LOGGED == 0:
                means = {key: round(sum(values) / len(values), 4) for key, values in sums.items()}
                log.write(json.dumps({"step": run.step, **means}) + "\n")
                log.flush()
                sums.clear()
