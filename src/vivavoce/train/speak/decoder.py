"""The decoder, for the voices that speak: their clean sound from codes that are settled. The encoder is not touched."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vivavoce.core import FRAME_SIZE
from vivavoce.nn.mimi import Mimi

from ..joint import wave_loss
from .critic import SIZES, Critic
from .pool import Take

FRAMES, BEFORE = 18, 6  # of a crop, and of those the ones before that only warm the decoder up
BATCH = 8
ALONE = 0.15  # share of the steps before the critic is listened to
RATE, CRITIC_RATE = 6e-4, 4e-4
STATES = ("parts", "critic", "optimiser", "against")
BEGINNINGS = 0.2  # of the batches are takes from their first frame on, where no warm-up hides a click
WEIGHTS = {"wave": 10.0, "fine": 4.0, "hush": 2.0, "fooled": 0.5, "near": 2.0}


class DecoderRun:
    """A run in a folder, `last.pt`: the codec's decoder learns, `codebooks` of it, and a critic against it."""

    def __init__(self, folder: Path, mimi: Mimi, codebooks: int, steps: int, rate: float = RATE) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.mimi, self.codebooks, self.steps, self.step = folder / "last.pt", mimi, codebooks, steps, 0
        self.parts = nn.ModuleList([mimi.upsample, mimi.decoder_transformer, mimi.decoder])
        self.parts.requires_grad_(True)
        self.rate, self.critic = rate, Critic()
        self.optimiser = torch.optim.AdamW(self.parts.parameters(), rate, (0.8, 0.98), weight_decay=0.0, fused=True)
        self.against = torch.optim.AdamW(
            self.critic.parameters(), CRITIC_RATE, (0.8, 0.98), weight_decay=0.0, fused=True
        )
        if self.path.exists():
            self._load()

    def train(self, pool: Sequence[Take], checkpoint_seconds: float = 120) -> Iterator[dict[str, float]]:
        """Run to the last step, yielding each step's losses."""
        rng, saved = np.random.default_rng((7, self.step)), time.monotonic()
        pool = [take for take in pool if len(take.codes) >= FRAMES]
        while self.step < self.steps:
            yield self._one(*self._batch(pool, rng), int(rng.integers(len(SIZES))))
            if time.monotonic() - saved > checkpoint_seconds or self.step == self.steps:
                self._save()
                saved = time.monotonic()

    def _one(self, codes: Tensor, real: Tensor, judge: int) -> dict[str, float]:
        done, listening = self.step / self.steps, self.step >= ALONE * self.steps
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * min(1.0, (self.step + 1) / 30) * (0.1 + 0.9 * (1 - done))
        with torch.no_grad():
            latent = self.mimi.quantizer.decode(codes)
        with torch.autocast("cpu", torch.bfloat16):
            made = self.mimi.synthesize(latent).float()[:, -real.shape[1] :]
        losses = {"wave": wave_loss(made, real), "fine": fine(made, real), "hush": hush(made, real)}
        if listening:
            with torch.autocast("cpu", torch.bfloat16):
                losses["fooled"], losses["near"] = self.critic.losses_of(real, made, judge)
        total = sum((WEIGHTS[name] * loss.float() for name, loss in losses.items()), torch.zeros(()))
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.parts.parameters(), 10.0)
        self.optimiser.step()
        if listening or done > ALONE / 2:
            losses["critic"] = self._criticise(real, made, judge)
        self.step += 1
        return {name: loss.item() for name, loss in losses.items()}

    def _criticise(self, real: Tensor, made: Tensor, judge: int) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            loss = self.critic.loss(real, made, judge)
        self.against.zero_grad(set_to_none=True)
        loss.backward()
        self.against.step()
        return loss

    def _batch(self, pool: Sequence[Take], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        codes, audio, beginning = [], [], rng.random() < BEGINNINGS
        skipped = 0 if beginning else BEFORE
        for index in rng.integers(len(pool), size=BATCH):
            take = pool[index]
            first = 0 if beginning else int(rng.integers(len(take.codes) - FRAMES + 1))
            heard = take.audio[(first + skipped) * FRAME_SIZE : (first + FRAMES) * FRAME_SIZE]
            codes.append(torch.from_numpy(take.codes[first : first + FRAMES, : self.codebooks].astype(np.int64)))
            audio.append(torch.from_numpy(heard))
        return torch.stack(codes), torch.stack(audio)

    def _save(self) -> None:
        part = self.path.with_suffix(".part")
        state = {name: getattr(self, name).state_dict() for name in STATES}
        torch.save(state | {"step": self.step}, part)
        part.replace(self.path)

    def _load(self) -> None:
        state = torch.load(self.path, weights_only=True)
        for name in STATES:
            getattr(self, name).load_state_dict(state[name])
        self.step = state["step"]


def hush(made: Tensor, real: Tensor, floor: float = 1e-3, block: int = 240) -> Tensor:
    """What is heard where nothing should be, in units of `floor`; transposed convolutions like to whistle there."""
    quiet = real.unflatten(1, (-1, block)).abs().amax(-1, keepdim=True) < floor
    return (made.unflatten(1, (-1, block)).abs() * quiet).mean() / floor


def fine(made: Tensor, real: Tensor) -> Tensor:
    """Distance of linear spectra, where harmonics can be told apart: relative, and of logarithms; [B, T] each."""
    parts = []
    for size in (512, 1024, 2048):
        window = torch.hann_window(size)
        a, b = (
            torch.stft(x, size, size // 4, window=window, return_complex=True).abs().clamp_min(1e-3)
            for x in (made, real)
        )
        parts.append((a - b).norm() / b.norm() + 0.5 * F.l1_loss(a.log(), b.log()))
    return torch.stack(parts).mean()
