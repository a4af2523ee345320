"""The stages that made the embedded model, in order; each starts from the last one's weights and can be resumed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from .library import Library
from .recipe import Recipe
from .run import Run

Progress = Callable[[str, int, int, dict[str, float]], None]  # stage, step, steps, losses

# Real speakers, few as they are, are drawn more often than a robot that says thousands of things alike.
_VOICES = {"espeak": 0.12, "asterisk": 3.0, "prompts": 3.0}
_SPEAKERS = {
    "fsdd": 30.0, "fsdd_shift": 2.0, "asterisk": 6.0, "prompts": 6.0, "kokoro": 1.0, "shift": 0.2, "flite": 0.5,
    "pico": 0.5, "rhvoice": 0.5, "festival": 0.5, "espeak": 0.1, "codec": 0.7,
}  # fmt: skip
_REAL = _SPEAKERS | {"fsdd": 60.0, "fsdd_shift": 4.0, "kokoro": 2.0}

STAGES: dict[str, Recipe] = {
    # Codec and words together, without the speakers of the digit corpus: they are its unseen test.
    "base": Recipe(steps=3600, without=["fsdd", "fsdd_shift"], source_weights=_VOICES),
    # The same with them, and more of what is not a digit.
    "speakers": Recipe(
        steps=2200, rate=5e-4, warm_up=30, flat=0.2, raw=0.0, fade=0.0, seed=2, part="codes",
        digits=0.66, other=0.29, source_weights=_SPEAKERS,
    ),
    # The LM alone on settled codes, with more naturally connected strings; then with less other speech.
    "words": Recipe(
        steps=600, rate=3e-4, warm_up=20, raw=0.0, fade=0.0, seed=4, part="words",
        digits=0.66, other=0.29, source_weights=_SPEAKERS | {"kokoro": 2.0},
    ),
    "accept": Recipe(
        steps=500, rate=3e-4, warm_up=20, raw=0.0, fade=0.0, seed=11, part="words",
        digits=0.78, other=0.17, source_weights=_REAL,
    ),
    # Once more: those who made the weights that ship met codecs' sounds and whole takes of real speakers only here.
    "whole": Recipe(
        steps=700, rate=3e-4, warm_up=20, raw=0.0, fade=0.0, seed=21, part="words",
        digits=0.78, other=0.17, source_weights=_REAL,
    ),
    "decoder": Recipe(steps=1200, rate=1.2e-3, raw=0.0, fade=0.0, seed=3, part="decoder", source_weights=_SPEAKERS),
}  # fmt: skip

# Two fifths of that and no decoder, to see what the model makes of people it never heard. The first stage hears nobody
# of the digit corpus whoever is left out: it can be copied from run to run.
_TRIED = _SPEAKERS | {"fsdd": 45.0, "codec": 0.3}
UNHEARD: dict[str, Recipe] = {
    "base": Recipe(
        steps=2400, batch=8, seconds=5.0, without=["fsdd", "fsdd_shift"], source_weights=_VOICES, silent=True
    ),
    "speakers": Recipe(
        steps=1000, batch=8, seconds=5.0, rate=6e-4, warm_up=30, flat=0.2, raw=0.0, fade=0.0, seed=2, part="codes",
        digits=0.75, other=0.2, source_weights=_TRIED,
    ),
    "again": Recipe(
        steps=600, batch=8, seconds=5.0, rate=5e-4, warm_up=30, flat=0.2, raw=0.0, fade=0.0, seed=22, part="codes",
        digits=0.75, other=0.2, source_weights=_TRIED,
    ),
}  # fmt: skip


def run_stages(
    corpus: Path, out: Path, progress: Progress, without: Sequence[str] = (), steps: int | None = None
) -> Path:
    """Run the stages that have not ended yet; returns the last checkpoint.

    `without` leaves speakers or sources out of every stage, to see what the model makes of people it never heard,
    with the shorter recipe;
    `steps` shortens every stage, to try the recipe out. Raises VivavoceError when there is nothing to learn from.
    """
    torch.set_num_threads(1)  # a second thread on a busy machine costs more than it brings
    previous: Path | None = None
    for name, stage in (UNHEARD if without else STAGES).items():
        recipe = replace(stage, steps=steps or stage.steps, without=sorted({*stage.without, *without}))
        previous = _run(out / name, recipe, Library(corpus, without=recipe.without), previous, name, progress)
    assert previous is not None
    return previous


def _run(folder: Path, recipe: Recipe, library: Library, start: Path | None, name: str, progress: Progress) -> Path:
    run = Run(folder, recipe, start)
    sums: dict[str, list[float]] = {}
    with (folder / "log.jsonl").open("a") as log:
        for losses in run.train(library):
            progress(name, run.step, recipe.steps, losses)
            for key, value in losses.items():
                sums.setdefault(key, []).append(value)
            if run.step % 25 == 0:
                means = {key: round(sum(values) / len(values), 4) for key, values in sums.items()}
                log.write(json.dumps({"step": run.step, **means}) + "\n")
                log.flush()
                sums.clear()
    return folder / "last.pt"
