"""The transformer's window, its ring, and what a slot may know of another."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vivavoce.nn.rows import Rows
from vivavoce.nn.transformer import RmsNorm, Transformer, TransformerConfig

CONTEXT = 6


def made(*, gated: bool, layers: int = 2) -> Transformer:
    torch.manual_seed(0)
    stack = Transformer(TransformerConfig(16, 2, layers, 24, CONTEXT, 10_000.0, gated))
    for parameter in stack.parameters():
        torch.nn.init.normal_(parameter, 0, parameter.shape[-1] ** -0.5)
    return stack.requires_grad_(False)


FLAVOURS = {"lm": made(gated=True), "codec": made(gated=False)}


def heard(seed: int, length: int, batch: int = 1) -> Tensor:
    return torch.randn(batch, length, 16, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None)
@given(flavour=st.sampled_from(["lm", "codec"]), chunks=st.lists(st.integers(1, 4), min_size=1, max_size=8))
def test_how_the_input_is_cut_never_changes_the_output(flavour: str, chunks: list[int]) -> None:
    """Also beyond the context, where the reference's ring is one key short (spec/model.md §1.9)."""
    stack = FLAVOURS[flavour]
    x, state = heard(1, sum(chunks)), stack.state(1, chunk=4)
    pieces = [stack(piece, state, Rows([0])) for piece in x.split(chunks, 1)]
    torch.testing.assert_close(torch.cat(pieces, 1), stack(x), atol=1e-5, rtol=1e-4)


def test_a_query_sees_exactly_the_context() -> None:
    """With one layer: a change `context - 1` positions ago matters, one `context` ago does not."""
    stack = made(gated=True, layers=1)
    x = heard(2, CONTEXT + 1)
    for back, seen in ((CONTEXT, False), (CONTEXT - 1, True)):
        changed = x.clone()
        changed[:, CONTEXT - back] += 1
        assert (not torch.equal(stack(changed)[:, CONTEXT], stack(x)[:, CONTEXT])) is seen


def test_what_comes_later_changes_nothing_before() -> None:
    stack, x = FLAVOURS["codec"], heard(3, 10)
    changed = x.clone()
    changed[:, 5:] += 1
    torch.testing.assert_close(stack(changed)[:, :5], stack(x)[:, :5])


@settings(deadline=None, max_examples=40)
@given(present=st.lists(st.sets(st.integers(0, 3), min_size=1), min_size=1, max_size=20))
def test_who_shares_the_batch_and_who_pauses_never_changes_a_slot(present: list[set[int]]) -> None:
    stack, state = FLAVOURS["lm"], FLAVOURS["lm"].state(4)
    x = heard(4, len(present), batch=4)
    said: list[list[Tensor]] = [[], [], [], []]
    for slots in map(sorted, present):
        column = torch.stack([x[slot, len(said[slot])] for slot in slots])[:, None]
        for slot, y in zip(slots, stack(column, state, Rows(slots)), strict=True):
            said[slot].append(y)
    for slot, answers in enumerate(said):
        if answers:
            torch.testing.assert_close(torch.cat(answers)[None], stack(x[[slot], : len(answers)]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_a_slot_that_was_reset_is_new_whatever_it_heard(poison: float, flavour: str) -> None:
    """Beside a neighbour that is further on, so that the ring's stale end is within reach."""
    stack = FLAVOURS[flavour]
    state, both = stack.state(2), Rows([0, 1])
    for step in range(CONTEXT + 2):
        column = heard(step, 1, batch=2)
        column[1] = poison
        stack(column, state, both)
    state.reset(1)
    answer = stack(heard(99, 1, batch=2), state, both)[1:]
    torch.testing.assert_close(answer, stack(heard(99, 1, batch=2)[1:]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_nan_in_one_slot_stays_there(flavour: str) -> None:
    stack = FLAVOURS[flavour]
    x = heard(5, 10, batch=3)
    x[1, 4:] = torch.nan
    state = stack.state(3)
    said = torch.cat([stack(column, state, Rows([0, 1, 2])) for column in x.split(1, 1)], 1)
    for slot in (0, 2):
        torch.testing.assert_close(said[[slot]], stack(x[[slot]]), atol=1e-5, rtol=1e-4)


def test_the_norm_is_the_specified_one() -> None:
    """spec/model.md §2.1: in fp32, with 1e-8 inside the root, cast back."""
    norm, x = RmsNorm(8), torch.randn(3, 8).bfloat16() * 1e-4
    torch.nn.init.normal_(norm.alpha)
    exact = x.float() * norm.alpha * (x.float().square().mean(-1, keepdim=True) + 1e-8).rsqrt()
    assert norm(x).dtype == torch.bfloat16
    torch.testing.assert_close(norm(x), exact.bfloat16())
