"""A training run: the model's sizes, its batches, its steps, its checkpoints."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vivavoce.core import FRAME_RATE, FRAME_SIZE, VivavoceError
from vivavoce.nn.conv import CausalConv1d, CausalConvTranspose1d
from vivavoce.nn.lm import Lm, LmConfig
from vivavoce.nn.mimi import Mimi, MimiConfig

from .joint import FRAME_CLASSES, Batch, Joint, k_means
from .library import Library
from .recipe import Recipe
from .streams import Mixer, Stream
from .targets import pause_targets, text_track

PIECES = (
    "<unk>",
    "<s>",
    "</s>",
    "<pad>",
    *(f"▁{d}" for d in ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]),
)
PIECE = {piece[1:]: i for i, piece in enumerate(PIECES) if piece.startswith("▁")}

MIMI = MimiConfig(
    encoder_filters=8, decoder_filters=16, ratios=(4, 5, 6, 8), kernels=(7, 3, 3), dimension=128,
    encoder_layers=3, decoder_layers=3, hidden=512, codebooks=16, bins=512, codebook_dim=64,
    heads=4, context=50, max_period=10_000.0,
)  # fmt: skip
LM = LmConfig(
    dim=256, num_heads=4, num_layers=4, hidden=704, n_q=16, card=512, text_card=len(PIECES),
    text_card_out=len(PIECES), context=50, max_period=100_000.0, extra_heads=4, extra_heads_dim=6,
)  # fmt: skip
DELAY_STEPS = 8  # 0.64 s from a word's start to its first piece


def new_model(seed: int) -> Joint:
    """The embedded sizes, freshly initialised."""
    torch.manual_seed(seed)
    model = Joint(Mimi(MIMI), Lm(LM))
    for module in model.modules():
        if isinstance(module, CausalConv1d | CausalConvTranspose1d):
            fan = module.weight[0].numel() if isinstance(module, CausalConv1d) else 2 * module.weight.shape[0]
            nn.init.normal_(module.weight, std=1.1 * fan**-0.5)
        elif isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=module.in_features**-0.5)
    for table in (model.lm.embeddings, model.lm.extra_heads):
        nn.init.normal_(table, std=LM.dim**-0.5)
    return model


def to_batch(streams: Sequence[Stream], rng: np.random.Generator | None) -> Batch:
    """Targets for mixed streams; `rng` adds the label jitter of training."""
    frames = len(streams[0].audio) // FRAME_SIZE
    timed = [[(PIECE[w], a, b) for w, a, b in s.words] for s in streams]
    return Batch(
        torch.from_numpy(np.stack([s.audio for s in streams])),
        torch.from_numpy(np.stack([s.clean for s in streams])),
        torch.from_numpy(np.stack([text_track(w, frames + 1, DELAY_STEPS, rng) for w in timed])),
        torch.from_numpy(np.stack([pause_targets(w, frames + 1) for w in timed])),
        torch.from_numpy(np.stack([_frame_classes(s, frames) for s in streams])),
    )


def _frame_classes(stream: Stream, frames: int) -> np.ndarray:
    classes = np.zeros(frames, np.int64)
    for text, start, stop in stream.words:
        centre = (np.arange(frames) + 0.5) / FRAME_RATE
        inside = (centre >= start) & (centre < stop)
        third = np.clip((centre - start) / (stop - start) * 3, 0, 2).astype(np.int64)
        classes[inside] = (1 + 3 * (PIECE[text] - 4) + third)[inside]
    assert classes.max(initial=0) < FRAME_CLASSES
    return classes


class Run:
    """One training run in a folder: `recipe.json`, `last.pt`, `log.jsonl`."""

    def __init__(self, folder: Path, recipe: Recipe, start: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.recipe = folder, recipe
        self.model = new_model(recipe.seed)
        self._choose_what_learns()
        self.optimiser = torch.optim.AdamW(self._groups(), betas=(0.9, 0.98), fused=True)
        self.step = 0
        if (folder / "last.pt").exists():
            self._load()
        elif start is not None:
            self.model.load_state_dict(torch.load(start, weights_only=True)["model"])
        (folder / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1))

    def _choose_what_learns(self) -> None:
        """Codebooks follow by averages and never by gradient."""
        self.model.codebooks_move = self.recipe.part in ("all", "codes")
        part, decoder = self.recipe.part, {id(p) for p in self._decoder()}
        words = {id(p) for m in self._word_modules() for p in m.parameters()} | {id(self.model.start)}
        for name, parameter in self.model.named_parameters():
            learns = {
                "all": True,
                "codes": id(parameter) not in decoder,
                "words": id(parameter) in words,
                "decoder": id(parameter) in decoder,
            }[part]
            parameter.requires_grad_(learns and not name.endswith("codebooks"))

    def _word_modules(self) -> list[nn.Module]:
        return [self.model.lm, self.model.hear_semantic, self.model.hear_acoustic]

    def _decoder(self) -> list[nn.Parameter]:
        mimi = self.model.mimi
        return [p for m in (mimi.upsample, mimi.decoder_transformer, mimi.decoder) for p in m.parameters()]

    def _groups(self) -> list[dict[str, object]]:
        groups: dict[float, list[nn.Parameter]] = {0.02: [], 0.0: []}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                groups[0.02 if parameter.ndim >= 2 and "embeddings" not in name else 0.0].append(parameter)
        return [{"params": parameters, "weight_decay": decay} for decay, parameters in groups.items()]

    def train(self, library: Library, checkpoint_seconds: float = 120) -> Iterator[dict[str, float]]:
        """Run to the last step, yielding each step's losses."""
        saved, batches, self.model = time.monotonic(), self.batches(library), self.model.train()
        while self.step < self.recipe.steps:
            if self.recipe.starts_quantiser(self.step):
                self._start_quantiser([next(batches) for _ in range(10)])
            losses = self._one(next(batches))
            self.step += 1
            if time.monotonic() - saved > checkpoint_seconds or self.step == self.recipe.steps:
                self.save()
                saved = time.monotonic()
            yield losses

    def _one(self, batch: Batch) -> dict[str, float]:
        recipe, model = self.recipe, self.model
        share = recipe.unquantised_at(self.step)
        raw = None if share is None else torch.rand(len(batch.audio)) < share
        weights = recipe.losses_at(self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = recipe.rate_at(self.step)
        losses = model.decoder_losses(batch) if recipe.part == "decoder" else model(batch, raw, weights)
        total = sum((weights.get(name, 0.0) * loss for name, loss in losses.items()), torch.zeros(()))
        if not total.isfinite():
            raise VivavoceError(
                f"{self.folder}: the loss of step {self.step} is {total.item()}; last.pt is from before"
            )
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        for part in self._clipped():
            nn.utils.clip_grad_norm_(part, 1.0)
        self.optimiser.step()
        return {name: loss.item() for name, loss in losses.items()} | {"total": total.item()}

    def _clipped(self) -> list[list[nn.Parameter]]:
        """Encoder, LM and decoder are clipped apart, so that a loud one does not silence the others."""
        decoder, words = self._decoder(), list(self.model.lm.parameters())
        mine = {id(p) for p in (*decoder, *words)}
        return [[p for p in self.model.parameters() if id(p) not in mine and p.requires_grad], words, decoder]

    @torch.no_grad()
    def _start_quantiser(self, batches: Sequence[Batch]) -> None:
        quantizer = self.model.mimi.quantizer
        latent = torch.cat([self.model.mimi.latent(b.audio) for b in batches]).flatten(0, 1)
        k_means(quantizer.semantic, quantizer.semantic.project_in(latent))
        k_means(quantizer.acoustic, quantizer.acoustic.project_in(latent))
        self.model.usage.fill_(1.0)

    def batches(self, library: Library, refresh: int = 100) -> Iterator[Batch]:
        """Endless batches; the seed moves with the step so that a resumed run hears new streams.

        Every `refresh` batches the library is read again: a run may start before its corpus is complete.
        """
        recipe = self.recipe
        while True:
            library.refresh()
            seed = recipe.seed * 1_000_003 + self.step
            mixer = Mixer(library.clips, recipe, seed)
            rng = np.random.default_rng(seed + 1)
            for _ in range(refresh):
                yield to_batch([mixer.stream() for _ in range(recipe.batch)], rng)

    def save(self) -> None:
        """Write `last.pt` in one move, so that a killed run resumes."""
        part = self.folder / "last.pt.part"
        state = {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict(), "step": self.step}
        torch.save(state, part)
        part.replace(self.folder / "last.pt")

    def _load(self) -> None:
        state = torch.load(self.folder / "last.pt", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]
