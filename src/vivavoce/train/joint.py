"""Codec and language model trained together: words reach the encoder through the codes.

The quantiser is straight-through. The LM hears codes as a linear map of the codebook entries, which gradients pass;
`fill_embeddings` then writes the tables that the released layout has, one row a code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vivavoce.core import FRAME_SIZE, TEXT_PAD
from vivavoce.nn.lm import Lm
from vivavoce.nn.mimi import Mimi
from vivavoce.nn.quantizer import ResidualQuantizer

from .spectral import BANDS, LogMel
from .targets import IGNORE

FRAME_CLASSES = 31  # no digit, or a third of one of the ten digits


@dataclass
class Batch:
    """Streams and what is to be said about them."""

    audio: Tensor  # float32 [B, samples]
    clean: Tensor  # float32 [B, samples], what the codec should give back
    text: Tensor  # int64 [B, frames + 1]
    pauses: Tensor  # int64 [B, frames + 1, heads]
    frames: Tensor  # int64 [B, frames], classes of FRAME_CLASSES


@dataclass
class Quantised:
    """Both halves after (or before) the codebooks, with what training wants to know."""

    semantic: Tensor  # [B, T, width]
    acoustic: Tensor
    commitment: Tensor  # scalar


class Joint(nn.Module):
    """The two models and the heads that only training needs."""

    def __init__(self, mimi: Mimi, lm: Lm) -> None:
        super().__init__()
        self.mimi, self.lm = mimi, lm
        width, dim = mimi.config.codebook_dim, lm.config.dim
        self.hear_semantic = nn.Linear(width, dim, bias=False)
        self.hear_acoustic = nn.Linear(width, dim, bias=False)
        self.start = nn.Parameter(torch.zeros(dim))
        self.mel_head = nn.Linear(mimi.config.dimension, 8 * BANDS)
        self.frame_head = nn.Linear(mimi.config.dimension, FRAME_CLASSES)
        self.log_mel = LogMel(1024, 240)
        self.codebooks_move = True  # False holds the codebooks still
        self.register_buffer("usage", torch.ones(mimi.config.codebooks, mimi.config.bins))
        self.usage: Tensor

    def quantise(self, latent: Tensor, raw: Tensor | None, *, learn: bool) -> Quantised:
        """latent [B, T, dim]; `raw` bool [B] marks streams that pass unquantised (None: all do)."""
        quantizer = self.mimi.quantizer
        semantic, acoustic = quantizer.semantic.project_in(latent), quantizer.acoustic.project_in(latent)
        if raw is None:
            return Quantised(semantic, acoustic, latent.new_zeros(()))
        q1 = self._chain(quantizer.semantic, semantic.detach(), self.usage[:1], learn)
        q2 = self._chain(quantizer.acoustic, acoustic.detach(), self.usage[1:], learn)
        loss = F.mse_loss(semantic, q1) / q1.var() + F.mse_loss(acoustic, q2) / q2.var()
        keep = raw[:, None, None]
        return Quantised(
            torch.where(keep, semantic, semantic + (q1 - semantic).detach()),
            torch.where(keep, acoustic, acoustic + (q2 - acoustic).detach()),
            loss,
        )

    @torch.no_grad()
    def _chain(self, half: ResidualQuantizer, x: Tensor, usage: Tensor, learn: bool) -> Tensor:
        """Quantise, and move each codebook towards what fell to its entries (exponential averages)."""
        codes = half.encode_projected(x, len(half.codebooks))
        residual, total = x.flatten(0, 1), torch.zeros_like(x.flatten(0, 1))
        for book, count, code in zip(half.codebooks, usage, codes.flatten(0, 1).unbind(-1), strict=True):
            entry = book[code].clone()
            if learn:
                _move(book, count, code, residual)
            residual, total = residual - entry, total + entry
        return total.view_as(x)

    def forward(self, batch: Batch, raw: Tensor | None, weights: dict[str, float]) -> dict[str, Tensor]:
        """The losses by name, those with a weight; `raw` as in `quantise`."""
        with torch.autocast("cpu", torch.bfloat16):
            latent = self.mimi.latent(batch.audio)
        moving = self.training and self.codebooks_move
        quantised = self.quantise(latent.float(), raw, learn=moving)
        losses = self._word_losses(quantised, batch)
        if weights.keys() <= losses.keys():
            return losses
        halves = self.mimi.quantizer
        decoded = halves.semantic.project_out(quantised.semantic) + halves.acoustic.project_out(quantised.acoustic)
        losses["commit"] = quantised.commitment
        losses["mel"] = self._mel_loss(decoded, batch.clean)
        logits = self.frame_head(decoded)
        losses["frame"] = F.cross_entropy(logits.flatten(0, 1), batch.frames.flatten())
        if weights.get("wave"):
            losses["wave"] = self._wave_loss(decoded, batch.clean)
        return losses

    def embed(self, quantised: Quantised, text: Tensor) -> Tensor:
        """What the LM hears: the start column, then the frames, each with the text before it; [B, T + 1, dim]."""
        heard = self.hear_semantic(quantised.semantic) + self.hear_acoustic(quantised.acoustic)
        heard = torch.cat([self.start.expand(len(heard), 1, -1), heard], 1)
        before = torch.cat([torch.full_like(text[:, :1], self.lm.config.text_card), text[:, :-1]], 1)
        return heard + F.embedding(before, self.lm.embeddings)

    def _word_losses(self, quantised: Quantised, batch: Batch) -> dict[str, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            logits, pauses = self.lm.predict(self.embed(quantised, batch.text))
        each = F.cross_entropy(logits.flatten(0, 1), batch.text.flatten(), reduction="none")
        weight = torch.where(batch.text.flatten() > TEXT_PAD, 1.0, 0.5)
        text = (each * weight).sum() / weight.sum()
        return {
            "text": text,
            "pause": F.cross_entropy(pauses.flatten(0, 2), batch.pauses.flatten(), ignore_index=IGNORE),
        }

    def _mel_loss(self, decoded: Tensor, clean: Tensor) -> Tensor:
        target = self.log_mel(clean)[:, : decoded.shape[1] * 8]
        return F.l1_loss(self.mel_head(decoded).view_as(target), target)

    def _wave_loss(self, decoded: Tensor, clean: Tensor, frames: int = 12) -> Tensor:
        """A decoder crop against the clean audio; the encoder feels a tenth of it."""
        first = int(torch.randint(decoded.shape[1] - frames + 1, ()))
        crop = decoded[:, first : first + frames]
        crop = crop * 0.1 + crop.detach() * 0.9
        return wave_loss(self._synthesize(crop), clean[:, first * FRAME_SIZE : (first + frames) * FRAME_SIZE])

    def decoder_losses(self, batch: Batch, frames: int = 16, before: int = 25) -> dict[str, Tensor]:
        """For a codec whose codes are settled: the sound of a crop, and what the codec's own encoder hears in it.

        `before` frames precede the crop for the encoder to settle in.
        """
        first = int(torch.randint(batch.text.shape[1] - frames, ()))
        skipped = max(first - before, 0)
        clean = batch.clean[:, first * FRAME_SIZE : (first + frames) * FRAME_SIZE]
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            heard = self.mimi.latent(batch.audio[:, skipped * FRAME_SIZE : (first + frames) * FRAME_SIZE]).float()
            goal = self.mimi.latent(clean).float()
        with torch.no_grad():
            codes = self.mimi.quantizer.encode(heard, self.mimi.config.codebooks)
            crop = self.mimi.quantizer.decode(codes)[:, first - skipped :]
        audio = self._synthesize(crop)
        with torch.autocast("cpu", torch.bfloat16):
            again = self.mimi.latent(audio)
        return {"wave": wave_loss(audio, clean), "feature": F.l1_loss(again.float(), goal) / goal.abs().mean()}

    def _synthesize(self, latent: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.mimi.synthesize(latent).float()

    @torch.no_grad()
    def fill_embeddings(self) -> None:
        """Write the LM's table rows from the linear maps; codes beyond the codebooks (id `card`) are the start."""
        config, quantizer = self.lm.config, self.mimi.quantizer
        books = torch.cat([quantizer.semantic.codebooks, quantizer.acoustic.codebooks])
        for q, book in enumerate(books[: config.n_q]):
            hear = self.hear_semantic if q == 0 else self.hear_acoustic
            first = config.text_card + 1 + q * (config.card + 1)
            self.lm.embeddings[first : first + config.card] = hear(book)
            self.lm.embeddings[first + config.card] = self.start / config.n_q
        self.lm.embeddings[-1] = 0


_SCALES = [LogMel(n, n // 4, 24 if n < 512 else 64) for n in (256, 512, 1024, 2048)]


def wave_loss(audio: Tensor, target: Tensor) -> Tensor:
    """Multi-resolution log-mel distance, a little time-domain distance, and the level of every frame; [B, T] each."""
    spectral = sum((F.l1_loss(scale(audio), scale(target)) for scale in _SCALES), audio.new_zeros(()))
    level = F.l1_loss(_level(audio), _level(target))
    return spectral / len(_SCALES) + 0.3 * level + F.l1_loss(audio, target)


def _level(audio: Tensor) -> Tensor:
    return audio.unflatten(1, (-1, FRAME_SIZE)).square().mean(-1).add(1e-6).log()


def _move(book: Tensor, usage: Tensor, code: Tensor, residual: Tensor, decay: float = 0.99) -> None:
    """Exponential averages of what falls to each entry; an entry that nothing falls to moves to a random residual."""
    counts = torch.bincount(code, minlength=len(book)).float()
    sums = torch.zeros_like(book).index_add_(0, code, residual)
    total = book * usage[:, None] * decay + sums * (1 - decay)
    usage.mul_(decay).add_(counts, alpha=1 - decay)
    book.copy_(torch.where(usage[:, None] > 1e-3, total / usage.clamp_min(1e-3)[:, None], book))
    dead = (usage < 0.01).nonzero()[:, 0]
    if len(dead):
        book[dead] = residual[torch.randint(len(residual), (len(dead),))]
        usage[dead] = 0.2


@torch.no_grad()
def k_means(half: ResidualQuantizer, samples: Tensor, rounds: int = 12) -> None:
    """Set a chain's codebooks, level by level, from projected latents [N, width]."""
    residual = samples.clone()
    for book in half.codebooks:
        order = torch.randperm(len(residual))
        book.copy_(residual[order[torch.arange(len(book)) % len(order)]])  # again from the first when there are too few
        for _ in range(rounds):
            code = torch.cdist(residual, book).argmin(-1)
            sums = torch.zeros_like(book).index_add_(0, code, residual)
            counts = torch.bincount(code, minlength=len(book))
            book.copy_(torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], book))
        residual = residual - book[torch.cdist(residual, book).argmin(-1)]
