"""The stages that made the embedded model, in order; each starts from the last one's weights and can be resumed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from .library import Library
from .recipe import Recipe, Run

Progress = Callable[[str, int, int, dict[str, float]], None]  # stage, step, steps, losses

# Synthetic voices say thousands of things alike: real speakers, few as they are, are drawn more often.
_SHARES = {"espeak": 0.12, "asterisk": 3.0, "prompts": 3.0}

STAGES: dict[str, Recipe] = {
    # Codec and words together, without the speakers of the digit corpus: they are its unseen test.
    "base": Recipe(steps=3600, without=["fsdd"], source_weights=_SHARES),
    # The same with them, from a tenth of the way down the schedule.
    "speakers": Recipe(
        steps=1200, rate=4e-4, warm_up=30, flat=0.2, raw=0.0, fade=0.0, seed=2, part="codes",
        source_weights=_SHARES | {"fsdd": 5.0},
    ),
    "decoder": Recipe(steps=1500, rate=1.2e-3, raw=0.0, fade=0.0, seed=3, part="decoder"),
    # The LM alone on settled codes, hearing the codec's own voice as well.
    "words": Recipe(
        steps=500, rate=2e-4, warm_up=20, raw=0.0, fade=0.0, seed=4, part="words", round_trip=0.2,
        source_weights=_SHARES | {"fsdd": 5.0},
    ),
}  # fmt: skip


def run_stages(
    corpus: Path, out: Path, progress: Progress, without: Sequence[str] = (), stages: Sequence[str] = tuple(STAGES)
) -> Path:
    """Run the stages that have not ended yet; returns the last checkpoint.

    `without` leaves speakers or sources out of every stage, to see what the model makes of people it never heard.
    """
    torch.set_num_threads(1)  # a second thread on a busy machine costs more than it brings
    previous: Path | None = None
    for name in stages:
        recipe = replace(STAGES[name], without=sorted({*STAGES[name].without, *without}))
        previous = _run(out / name, recipe, Library(corpus, without=recipe.without), previous, name, progress)
    assert previous is not None, "no stage was asked for"
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
