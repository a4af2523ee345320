"""Everything that decides a training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import cos, pi


@dataclass
class Recipe:
    """Everything that decides a run; written beside its checkpoints."""

    steps: int = 4000
    batch: int = 10
    seconds: float = 6.0
    rate: float = 1.5e-3
    warm_up: int = 60
    flat: float = 0.3  # share of the steps at full rate, then cosine to 5 %
    raw: float = 0.25  # share of the steps before the quantiser appears
    fade: float = 0.2  # share over which unquantised streams fade from half to none
    seed: int = 1
    losses: dict[str, float] = field(
        default_factory=lambda: {
            "text": 1.0, "pause": 0.15, "mel": 1.0, "frame": 0.5, "wave": 0.3, "commit": 0.1, "feature": 1.0
        }
    )  # fmt: skip
    wave_every: int = 2
    silent: bool = False  # nothing of the decoder is learned: a stage of its own does that
    part: str = "all"  # what learns: "all", "codes" (all but the decoder), "words" (the LM), "decoder"
    source_weights: dict[str, float] = field(default_factory=dict)
    digits: float = 0.76  # share of streams that say digits
    other: float = 0.19  # share of streams that say anything else; what is left is noise
    without: list[str] = field(default_factory=list)  # sources or speakers kept out of training

    def rate_at(self, step: int) -> float:
        """The learning rate of a step."""
        if step < self.warm_up:
            return self.rate * (step + 1) / self.warm_up
        done = max(0.0, (step / self.steps - self.flat) / (1 - self.flat))
        return self.rate * (0.05 + 0.95 * (0.5 + 0.5 * cos(pi * min(done, 1.0))))

    def losses_at(self, step: int) -> dict[str, float]:
        """Weights of the losses. The decoder's sound is dear: it counts now and then, and only where it is learned."""
        if self.part == "words":
            return {name: self.losses[name] for name in ("text", "pause")}
        silent = self.silent or self.part == "codes" or (self.part == "all" and step % self.wave_every != 0)
        return {name: weight for name, weight in self.losses.items() if not (silent and name == "wave")}

    def starts_quantiser(self, step: int) -> bool:
        """Whether the codebooks are to be made from latents before this step."""
        return self.raw > 0 and self.unquantised_at(step) is not None and self.unquantised_at(step - 1) is None

    def unquantised_at(self, step: int) -> float | None:
        """The share of streams that pass the quantiser untouched; None before there is one."""
        progress = (step / self.steps - self.raw) / self.fade if self.fade else 1.0
        return None if step < self.raw * self.steps else max(0.0, 0.5 * (1 - progress))
