"""The convolutions against torch's own, and their streaming laws."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vivavoce.nn.conv import CausalConv1d, CausalConvTranspose1d
from vivavoce.nn.rows import Rows

LAYERS = {
    "stride 1": lambda: CausalConv1d(3, 5, 7),
    "stride 4": lambda: CausalConv1d(3, 5, 8, 4),
    "pointwise": lambda: CausalConv1d(3, 5, 1),
    "downsample": lambda: CausalConv1d(4, 4, 4, 2, bias=False, replicate=True),
    "transposed": lambda: CausalConvTranspose1d(3, 5, 4),
    "upsample": lambda: CausalConvTranspose1d(4, 4, 2, bias=False, depthwise=True),
}


def made(name: str, seed: int = 0) -> CausalConv1d | CausalConvTranspose1d:
    torch.manual_seed(seed)
    layer = LAYERS[name]()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    return layer.requires_grad_(False)


def inputs(layer: CausalConv1d | CausalConvTranspose1d) -> int:
    depthwise = isinstance(layer, CausalConvTranspose1d) and layer.depthwise
    if isinstance(layer, CausalConv1d) or depthwise:
        return layer.weight.shape[2]
    return layer.weight.shape[0]


def test_a_causal_convolution_is_torchs_with_zeros_on_the_left() -> None:
    layer, x = made("stride 4"), torch.randn(2, 12, 3)
    padded = F.pad(x.mT, (4, 0))
    torch.testing.assert_close(layer(x).mT, F.conv1d(padded, layer.weight.mT, layer.bias, 4))


def test_downsampling_repeats_the_first_input_on_the_left() -> None:
    layer, x = made("downsample"), torch.randn(2, 6, 4)
    padded = F.pad(x.mT, (2, 0), mode="replicate")
    torch.testing.assert_close(layer(x).mT, F.conv1d(padded, layer.weight.mT, None, 2))


def test_a_transposed_convolution_is_torchs_without_its_last_stride() -> None:
    layer, x = made("transposed"), torch.randn(2, 6, 3)
    whole = F.conv_transpose1d(x.mT, layer.weight.mT, layer.bias, 4)
    torch.testing.assert_close(layer(x).mT, whole[..., :-4])


def test_upsampling_is_torchs_depthwise_transposed_convolution() -> None:
    layer, x = made("upsample"), torch.randn(2, 6, 4)
    whole = F.conv_transpose1d(x.mT, layer.weight.permute(2, 0, 1), None, 2, groups=4)
    torch.testing.assert_close(layer(x).mT, whole[..., :-2])


@settings(deadline=None)
@given(name=st.sampled_from(sorted(LAYERS)), chunks=st.lists(st.integers(1, 4), min_size=1, max_size=6))
def test_how_the_input_is_cut_never_changes_the_output(name: str, chunks: list[int]) -> None:
    layer = made(name)
    stride = layer.stride if isinstance(layer, CausalConv1d) else 1
    lengths = [stride * n for n in chunks]
    x = torch.randn(1, sum(lengths), inputs(layer), generator=torch.Generator().manual_seed(1))
    state, rows = layer.state(1), Rows([0])
    pieces = [layer(piece, state, rows) for piece in x.split(lengths, 1)]
    torch.testing.assert_close(torch.cat(pieces, 1), layer(x))


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_a_slot_that_pauses_goes_on_where_it_was(name: str) -> None:
    layer = made(name)
    x = torch.randn(3, 12, inputs(layer))
    state = layer.state(3)
    layer(x[:, :4], state, Rows([0, 1, 2]))
    layer(x[[0, 2], 4:8], state, Rows([0, 2]))
    resumed: Tensor = layer(x[[1], 4:8], state, Rows([1]))
    torch.testing.assert_close(resumed, layer(x)[[1], resumed.shape[1] : 2 * resumed.shape[1]])


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_a_slot_that_was_reset_is_new_whatever_it_heard(name: str) -> None:
    layer = made(name)
    x = torch.randn(1, 4, inputs(layer))
    state, rows = layer.state(2), Rows([1])
    layer(torch.full_like(x, torch.nan), state, rows)
    state.reset(1)
    assert torch.equal(layer(x, state, rows), layer(x, layer.state(2), rows))
