"""The stages that made the embedded voice: a decoder for its speakers, then the model that speaks its codes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vivavoce.checkpoints import TtsModel, load_stt
from vivavoce.nn.mimi import Mimi

from .decoder import DecoderRun
from .export import model_of, voices_of
from .pool import spoken_clips, takes
from .run import SpeakerRun
from .sizes import CODEBOOKS

Progress = Callable[[str, int, int, dict[str, float]], None]  # stage, step, steps, losses
DECODER_STEPS, SPEAKER_STEPS = 1200, 4000
DECODER_COPIES, COPIES = 3, 24  # of every clip, each at another place in its frames
LOGGED = 25  # steps


@dataclass(frozen=True)
class Voice:
    """What the stages give: the model, and its speakers as it is told of them, float32 [frames, dim]."""

    model: TtsModel
    speakers: dict[str, Tensor]


def run_stages(
    corpus: Path, out: Path, progress: Progress, steps: int | None = None, codec: str | None = None
) -> Voice:
    """Run the stages that have not ended yet, on the codec of the model `codec`, the embedded one when absent.

    `steps` shortens every stage, to try the recipe out. Raises VivavoceError when there is nothing to learn from.
    """
    torch.set_num_threads(1)  # a second thread on a busy machine costs more than it brings
    mimi, clips = load_stt(codec, device="cpu").mimi, spoken_clips(corpus)
    speakers = _speakers(out, mimi, corpus)
    decoder = DecoderRun(out / "decoder", mimi, CODEBOOKS, steps or DECODER_STEPS)
    if decoder.step < decoder.steps:
        _log(out / "decoder", decoder, decoder.train(list(takes(mimi, clips, DECODER_COPIES, 1))), progress)
    speaker = SpeakerRun(out / "speaker", speakers, steps or SPEAKER_STEPS)
    if speaker.step < speaker.steps:
        _log(out / "speaker", speaker, speaker.train(list(takes(mimi, clips, COPIES, 2, varied=True))), progress)
    return Voice(model_of(speaker, mimi.eval().requires_grad_(False)), speakers)


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
