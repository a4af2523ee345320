"""Sampling: who may be drawn, how often, and on what a draw depends."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vivavoce.nn.sampling import Draws, Sampling, choose, draw, exponential, keys

CPU = torch.device("cpu")
LOGITS = torch.tensor([3.0, 1.0, 2.0, 0.0, -1.0])


def drawn(
    temperature: float = 1.0, top_k: int = 0, top_p: float = 0.0, times: int = 20_000, stream: int = 1, seed: int = 5
) -> Tensor:
    """Tokens [times], one a step of the same stream."""
    sampling = Sampling.of([temperature] * times, [top_k] * times, [top_p] * times, CPU)
    return draw(LOGITS.expand(times, -1), sampling, keys(torch.full((times,), seed), torch.arange(times), 8)[:, stream])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_a_token_is_drawn_as_often_as_it_is_probable(temperature: float) -> None:
    shares = drawn(temperature).bincount(minlength=5) / 20_000
    torch.testing.assert_close(shares, (LOGITS / temperature).softmax(-1), atol=0.012, rtol=0)


def test_top_k_leaves_the_k_best_in_their_proportions() -> None:
    shares = drawn(top_k=2).bincount(minlength=5) / 20_000
    torch.testing.assert_close(shares[[0, 2]], LOGITS[[0, 2]].softmax(-1), atol=0.012, rtol=0)
    assert shares[[1, 3, 4]].tolist() == [0, 0, 0]


@pytest.mark.parametrize(("top_p", "kept"), [(0.01, {0}), (0.62, {0}), (0.64, {0, 2}), (0.98, {0, 1, 2, 3})])
def test_top_p_leaves_what_reaches_that_share(top_p: float, kept: set[int]) -> None:
    """The shares are 0.64, 0.23, 0.09, 0.03 and 0.01."""
    assert set(drawn(top_p=top_p).tolist()) == kept


def test_temperature_zero_is_greedy_beside_a_row_that_is_not() -> None:
    sampling = Sampling.of([0.0, 1.0], [0, 0], [0.0, 0.0], CPU)
    tokens = [draw(LOGITS.expand(2, -1), sampling, keys(torch.tensor([5, 5]), torch.tensor([s, s]))[:, 0])
              for s in range(50)]  # fmt: skip
    assert {int(t[0]) for t in tokens} == {0}
    assert len({int(t[1]) for t in tokens}) > 2


def test_a_draw_does_not_depend_on_what_the_other_rows_want() -> None:
    torch.manual_seed(0)
    logits, key = torch.randn(3, 2048), keys(torch.tensor([1, 2, 3]), torch.tensor([7, 8, 9]), 5)[:, 4]
    alone = [draw(logits[i, None], Sampling.of([0.8], [k], [p], CPU), key[i, None])
             for i, (k, p) in enumerate([(25, 0.0), (250, 0.0), (0, 0.9)])]  # fmt: skip
    assert torch.equal(draw(logits, Sampling.of([0.8] * 3, [25, 250, 0], [0, 0, 0.9], CPU), key), torch.cat(alone))


def test_every_codebook_step_and_seed_has_its_own_noise() -> None:
    tokens = torch.arange(64)
    noise = {
        tuple(exponential(keys(torch.tensor([seed]), torch.tensor([step]), 8)[:, stream], tokens, 64)[0].tolist())
        for seed in range(4) for step in range(8) for stream in range(8)
    }  # fmt: skip
    assert len(noise) == 4 * 8 * 8


def test_the_text_of_both_kinds_of_model_is_drawn_alike() -> None:
    seed, step = torch.tensor([3] * 99), torch.arange(99)
    chosen, _ = choose(LOGITS.expand(99, -1), Draws(torch.ones(99), seed, step))
    assert torch.equal(chosen, drawn(times=99, stream=0, seed=3))
