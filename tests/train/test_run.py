"""The recipe end to end, on a corpus of ten tones and for a handful of steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vivavoce.checkpoints import load_stt
from vivavoce.core import VivavoceError
from vivavoce.train.export import export
from vivavoce.train.library import Library
from vivavoce.train.recipe import Recipe
from vivavoce.train.run import Run
from vivavoce.train.streams import Mixer
from vivavoce.transcriber import Transcriber

TINY = Recipe(steps=4, batch=2, seconds=2.0, warm_up=1, raw=0.5, fade=0.25)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    folder = tmp_path_factory.mktemp("run")
    list(Run(folder, TINY).train(Library(corpus)))
    return folder


def test_every_loss_of_the_recipe_is_finite_and_reported(tmp_path: Path, corpus: Path) -> None:
    reports = list(Run(tmp_path, TINY).train(Library(corpus)))
    assert len(reports) == TINY.steps
    assert {"text", "pause", "mel", "frame", "wave", "commit", "total"} <= {k for r in reports for k in r}
    assert all(np.isfinite(value) for report in reports for value in report.values())


def test_an_interrupted_run_goes_on_where_its_checkpoint_was(tmp_path: Path, corpus: Path) -> None:
    first = Run(tmp_path, TINY)
    steps = first.train(Library(corpus))
    next(steps), next(steps)
    first.save()
    again = Run(tmp_path, TINY)
    assert again.step == 2
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name
    assert len(list(again.train(Library(corpus)))) == 2


@pytest.mark.parametrize(
    ("part", "moves", "stays"),
    [("words", "lm.norm.alpha", "mimi.decoder"), ("decoder", "mimi.decoder.blocks.0.weight", "lm.")],
)
def test_a_stage_moves_only_the_part_that_it_is_for(
    part: str, moves: str, stays: str, trained: Path, corpus: Path, tmp_path: Path
) -> None:
    recipe = replace(TINY, steps=2, part=part, raw=0.0, fade=0.0)
    run = Run(tmp_path, recipe, trained / "last.pt")
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    list(run.train(Library(corpus)))
    after = run.model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert moves in changed
    assert not any(name.startswith(stays) or name.endswith("codebooks") for name in changed)


def test_what_is_exported_loads_and_hears_what_the_run_hears(trained: Path, tmp_path: Path) -> None:
    export(trained / "last.pt", tmp_path / "model")
    model = load_stt(tmp_path / "model", device="cpu")
    assert model.pieces[4:] == tuple(
        f"▁{digit}" for digit in ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    )
    transcript = Transcriber(model).transcribe(np.zeros(24_000, np.float32))
    assert transcript.duration == 1.0


def test_the_same_seed_mixes_the_same_streams(corpus: Path) -> None:
    clips = Library(corpus).clips
    one, two = Mixer(clips, TINY, 7).stream(), Mixer(clips, TINY, 7).stream()
    assert np.array_equal(one.audio, two.audio)
    assert one.words == two.words
    assert np.abs(one.audio).max() <= 1


def test_speakers_and_sources_can_be_left_out(corpus: Path) -> None:
    assert {clip.speaker for clip in Library(corpus, without=["crowd"]).clips} == {"singer"}
    with pytest.raises(VivavoceError, match="holds no clips that say digits"):
        Library(corpus, without=["sung"])
