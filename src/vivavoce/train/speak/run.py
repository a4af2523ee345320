"""Training the language model that speaks: teacher-forced on codes, with a few of those that it hears made wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from math import cos, pi
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vivavoce.checkpoints.tts_model import SPEAKERS, TtsModel
from vivavoce.core import VivavoceError
from vivavoce.nn.conditions import Given

from ..targets import IGNORE
from .pool import Take
from .sizes import VOICE_FRAMES, VOICES, new_speaker
from .tracks import Lesson, Teacher

BATCH = 10
RATE, WARM_UP = 1.5e-3, 60
WRONG = 0.08  # of the codes heard: what the model says itself will not be free of faults either
FIRST = 3.0  # weight of the semantic codebook; the others have 1
CHOICE = 0.3  # weight of the choice of when a word starts
UNHEARD = 0.1  # how often the LM hears neither text nor voice: what guidance leads away from
UNNAMED = 0.3  # how often the default voice is not told: it is the one that speaks where none is asked for


class SpeakerRun:
    """A run in a folder, `last.pt`. `voices` are the codec's latents of each speaker, float32 [VOICE_FRAMES, dim]."""

    def __init__(
        self, folder: Path, voices: Mapping[str, Tensor], steps: int, seed: int = 1, rate: float = RATE
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.voices, self.steps, self.seed, self.step = folder / "last.pt", voices, steps, seed, 0
        self.rate = rate
        self.lm, self.conditions = new_speaker(next(iter(voices.values())).shape[1], seed)
        self.networks = nn.ModuleList([self.lm, self.conditions])
        self.optimiser = torch.optim.AdamW(self._groups(), betas=(0.9, 0.95), fused=True)
        if self.path.exists():
            state = torch.load(self.path, weights_only=True)
            self.networks.load_state_dict(state["networks"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step = state["step"]

    def begin(self, model: TtsModel) -> None:
        """Learn on from a model of these sizes, unless the run has begun."""
        if self.step == 0:
            self.lm.load_state_dict(model.lm.state_dict())
            self.conditions.load_state_dict(model.conditions.state_dict())

    def _groups(self) -> list[dict[str, object]]:
        groups: dict[float, list[nn.Parameter]] = {0.1: [], 0.0: []}
        for name, parameter in self.networks.named_parameters():
            matrix = parameter.ndim >= 2 and not any(word in name for word in ("embeddings", "table"))
            groups[0.1 if matrix else 0.0].append(parameter)
        return [{"params": parameters, "weight_decay": decay} for decay, parameters in groups.items()]

    def train(self, takes: Sequence[Take], checkpoint_seconds: float = 120) -> Iterator[dict[str, float]]:
        """Run to the last step, yielding each step's losses."""
        teacher, saved = Teacher(takes, self.seed * 1_000_003 + self.step), time.monotonic()
        while self.step < self.steps:
            losses = self._one(teacher.lesson(BATCH))
            self.step += 1
            if time.monotonic() - saved > checkpoint_seconds or self.step == self.steps:
                self.save()
                saved = time.monotonic()
            yield losses

    def _one(self, lesson: Lesson) -> dict[str, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        losses = self.losses(lesson, WRONG)
        total = CHOICE * losses["choice"] + losses["codes"]
        if not total.isfinite():
            raise VivavoceError(f"{self.path}: the loss of step {self.step} is {total.item()}; the file is from before")
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.networks.parameters(), 1.0)
        self.optimiser.step()
        return {name: loss.item() for name, loss in losses.items()}

    def _rate(self) -> float:
        if self.step < WARM_UP:
            return self.rate * (self.step + 1) / WARM_UP
        return self.rate * (0.03 + 0.97 * (0.5 + 0.5 * cos(pi * self.step / self.steps)))

    def losses(self, lesson: Lesson, wrong: float = 0.0) -> dict[str, Tensor]:
        """Cross-entropies: of the choice, of all codes as they are weighted, and of the semantic ones."""
        unheard = torch.rand(len(lesson.text)) < (UNHEARD if self.networks.training else 0)
        with torch.autocast("cpu", torch.bfloat16):
            choices, codes = self._teach(lesson, _spoiled(lesson.codes, wrong, self.lm.config.card), unheard)
        target = lesson.codes.masked_fill((lesson.codes < 0) | (lesson.codes >= self.lm.config.card), IGNORE)
        each = [
            F.cross_entropy(codes[:, :, q].flatten(0, 1), target[:, :, q].flatten(), ignore_index=IGNORE)
            for q in range(target.shape[-1])
        ]
        weights = torch.tensor([FIRST, *[1.0] * (len(each) - 1)])
        chosen = lesson.choices.masked_fill(unheard[:, None], IGNORE)
        asked = F.cross_entropy(choices.flatten(0, 1), chosen.flatten(), ignore_index=IGNORE)
        return {"choice": asked, "codes": torch.stack(each) @ weights / weights.sum(), "semantic": each[0]}

    def _teach(self, lesson: Lesson, heard: Tensor, unheard: Tensor) -> tuple[Tensor, Tensor]:
        """`Lm.teach`, but where `unheard` bool [B] the LM, and not the depformer, goes without text and voice."""
        lm = self.lm
        assert lm.depformer is not None
        start_text, start_codes = lm.start(len(heard))
        text = torch.cat([start_text, lesson.text[:, :-1].masked_fill(unheard[:, None], -1)], 1)
        embedded = lm.embed(text, torch.cat([start_codes, heard[:, :-1]], 1))
        hidden = lm.hear(embedded, source=self.conditions({SPEAKERS: self._given(lesson.voices, unheard)}).source)
        return lm.text_head(hidden).float(), lm.depformer(hidden, lesson.text, heard).float()

    def _given(self, speakers: Sequence[str], unheard: Tensor) -> Given:
        default = next(iter(VOICES))
        unnamed = torch.rand(len(speakers)) < (UNNAMED if self.networks.training else 0)
        told = ~unheard & (~unnamed | torch.tensor([speaker != default for speaker in speakers]))
        return Given(torch.stack([self.voices[s] for s in speakers]), told[:, None].expand(-1, VOICE_FRAMES))

    def save(self) -> None:
        """Write `last.pt` in one move, so that a killed run resumes."""
        part = self.path.with_suffix(".part")
        both = {"networks": self.networks.state_dict(), "optimiser": self.optimiser.state_dict()}
        torch.save(both | {"step": self.step}, part)
        part.replace(self.path)


def _spoiled(codes: Tensor, share: float, card: int) -> Tensor:
    """The codes with a share of them replaced by any others."""
    hit = (torch.rand(codes.shape) < share) & (codes >= 0) & (codes < card)
    return torch.where(hit, torch.randint(card, codes.shape), codes)
