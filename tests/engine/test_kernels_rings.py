"""What lies in the rings of the kernels (`Memory` of model.h), read back from their lines."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vivavoce.engine.kernels.library import Library
from vivavoce.engine.kernels.lm import NativeLm, Precision
from vivavoce.engine.kernels.packing import Format
from vivavoce.engine.kernels.rings import Rings
from vivavoce.engine.stepper import PlainLm

from .likeness import model
from .test_kernels import FRAMES, USUAL, some_calls

ROUNDING = 1e-3  # of a step, what fp32 may add to the half that is rounded away


def values_of(rings: Rings, layers: int, heads: int) -> tuple[Tensor, Tensor]:
    """Values [layers, slots, heads, places, width], and their steps' width [layers, slots, heads, places, 1].

    A byte holds half of place 8s + j (the low one) and of place 8s + 4 + j.
    """
    values, scales, least = (rings.tensors[i].view(layers, rings.struct.slots, heads, -1) for i in (1, 3, 4))
    steps = values.unflatten(-1, (rings.struct.padded // 8, -1, 4))
    places = torch.stack([steps & 15, steps >> 4], -3).transpose(-1, -2).flatten(-4, -2)
    return places * scales[..., None] + least[..., None], scales[..., None]


@given(places=st.integers(1, 60), width=st.sampled_from([16, 48, 128]), seed=st.integers(0, 9))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_values_are_at_most_half_a_step_off_and_the_largest_and_least_are_exact(
    places: int, width: int, seed: int
) -> None:
    """Of one slot; another keeps what it had. A position of equal numbers is exact."""
    drawn = torch.Generator().manual_seed(seed)
    rings = Rings(2, 3, 2, width, places, Format.INT4)
    keys, values = torch.randn(2, 2, places, width, generator=drawn)
    values[0, 0] = values[0, 0, 0]
    rings.fill(1, 2, keys, values)
    got, step = values_of(rings, 2, 2)
    assert not got[:, :2].any()
    assert not got[0].any()
    got, step = got[1, 2, :, :places], step[1, 2, :, :places]
    assert ((got - values).abs() <= step * (0.5 + ROUNDING)).all()
    torch.testing.assert_close(got.aminmax(dim=-1), values.aminmax(dim=-1))
    torch.testing.assert_close(got[0, 0], values[0, 0])


def test_what_a_step_keeps_is_what_pytorch_keeps_but_for_half_a_step(kernels: Library) -> None:
    """Of the first layer, whose values are not those of rounded ones, in a ring that was gone round several times."""
    lm = model(USUAL)
    plain = PlainLm(lm, 4, FRAMES)
    natives = [
        NativeLm(kernels, lm, 4, FRAMES, Precision(Format.FLOAT32, Format.INT4), isa=isa) for isa in kernels.isas
    ]
    for call in some_calls(USUAL, 4, 60, 1):
        with torch.inference_mode():
            plain.hear(*call)
        for native in natives:
            native.hear(*call)
    expected = plain._state.rings[0].values
    assert (plain.position > 3 * expected.shape[2]).all()
    for native in natives:
        got, step = (
            part[0, :, :, : expected.shape[2]] for part in values_of(native._rings, USUAL.num_layers, USUAL.num_heads)
        )
        assert ((got - expected).abs() <= step * (0.5 + ROUNDING)).all()


def test_values_in_halves_of_bytes_take_a_quarter_of_the_rings_away() -> None:
    """But for a third number beside two scales of each head and position."""
    formats = Format.INT8, Format.INT4
    whole, less = (sum(part.nbytes for part in Rings(2, 2, 2, 128, 160, kind).tensors) for kind in formats)
    assert (whole, less) == (2 * 2 * 2 * 160 * (256 + 8), 2 * 2 * 2 * 160 * (192 + 12))


@pytest.mark.parametrize("format", Format)
def test_a_slot_that_was_cleared_has_nothing_but_numbers_in_its_values(format: Format) -> None:
    rings = Rings(1, 2, 2, 16, 20, format)
    for slot in range(2):
        rings.fill(0, slot, torch.randn(2, 20, 16), torch.full((2, 20, 16), np.nan))
    rings.clear(0)
    part = rings.tensors[1] if format < Format.INT8 else torch.stack(rings.tensors[3:])
    kept = part.view(-1, 2, part.shape[-1] // 2)
    assert not kept[:, 0].isnan().any()
    assert kept[:, 1].isnan().any()
