"""Laws of the codec and of the language model as a whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from vivavoce.checkpoints import SttModel
from vivavoce.nn.mimi import Mimi, pad_to_frames
from vivavoce.nn.quantizer import ResidualQuantizer
from vivavoce.nn.rows import Rows

LAW = settings(deadline=None, max_examples=10, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def model(make_model: Callable[..., SttModel]) -> SttModel:
    made = make_model()
    made.mimi.requires_grad_(False)
    made.lm.requires_grad_(False)
    return made


@pytest.fixture
def mimi(model: SttModel) -> Mimi:
    return model.mimi


def test_a_frame_gives_a_column_of_codes_and_back(mimi: Mimi) -> None:
    codes = mimi.encode(torch.randn(2, 3 * 1920))
    assert (codes.shape, codes.dtype) == ((2, 3, 6), torch.int64)
    assert mimi.decode(codes).shape == (2, 3 * 1920)


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (1920, 1), (1921, 2)])
def test_a_started_frame_is_filled_with_zeros(samples: int, frames: int) -> None:
    assert pad_to_frames(torch.ones(1, samples), 1920).shape == (1, frames * 1920)
    assert pad_to_frames(torch.ones(1, samples), 1920).sum() == samples


@LAW
@given(chunks=st.lists(st.integers(1, 3), min_size=1, max_size=12))
def test_how_the_audio_is_cut_never_changes_its_codes(
    mimi: Mimi, audio: Callable[..., Tensor], chunks: list[int]
) -> None:
    """Up to 36 frames, where the window is 10."""
    sound = audio(sum(chunks) / 12.5)
    state = mimi.encoder_state(1, frames=3)
    pieces = [mimi.encode(piece, state, Rows([0])) for piece in sound.split([1920 * n for n in chunks], 1)]
    assert torch.equal(torch.cat(pieces, 1), mimi.encode(sound))


@LAW
@given(chunks=st.lists(st.integers(1, 3), min_size=1, max_size=12))
def test_how_the_codes_are_cut_never_changes_the_audio(
    mimi: Mimi, audio: Callable[..., Tensor], chunks: list[int]
) -> None:
    codes = mimi.encode(audio(sum(chunks) / 12.5))
    state = mimi.decoder_state(1, frames=3)
    pieces = [mimi.decode(piece, state, Rows([0])) for piece in codes.split(chunks, 1)]
    torch.testing.assert_close(torch.cat(pieces, 1), mimi.decode(codes), atol=1e-5, rtol=1e-4)


def test_later_audio_changes_no_earlier_code(mimi: Mimi, audio: Callable[..., Tensor]) -> None:
    sound = audio(1.6)
    changed = sound.clone()
    changed[:, 10 * 1920 :] = 0
    assert torch.equal(mimi.encode(sound)[:, :10], mimi.encode(changed)[:, :10])
    assert not torch.equal(mimi.encode(sound), mimi.encode(changed))


def test_fewer_codebooks_are_the_first_ones(mimi: Mimi, audio: Callable[..., Tensor]) -> None:
    sound = audio(1)
    for count in (1, 2, 5):
        assert torch.equal(mimi.encode(sound, codebooks=count), mimi.encode(sound)[..., :count])


def test_a_codec_slot_that_was_reset_is_new_whatever_it_heard(mimi: Mimi, audio: Callable[..., Tensor]) -> None:
    state, both = mimi.encoder_state(2), Rows([0, 1])
    sound = torch.cat([audio(1.04), torch.full_like(audio(1.04), torch.nan)])
    for frame in sound.split(1920, 1):
        mimi.encode(frame, state, both)
    state.reset(1)
    again = audio(0.08, seed=7).expand(2, -1)
    assert torch.equal(mimi.encode(again, state, both)[1:], mimi.encode(again[:1]))


def test_each_code_is_the_nearest_entry_to_what_is_left() -> None:
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(8, 3, 16, 4).requires_grad_(False)
    torch.nn.init.normal_(quantizer.codebooks)
    latent = torch.randn(50, 8)
    residual = quantizer.project_in(latent)
    codes = quantizer.encode(latent, 3)
    for level, book in enumerate(quantizer.codebooks):
        assert torch.equal(codes[:, level], torch.cdist(residual, book).argmin(-1))
        residual = residual - book[codes[:, level]]


def test_a_latent_is_the_sum_of_its_entries(mimi: Mimi) -> None:
    codes = torch.randint(0, 64, (5, 6))
    semantic, acoustic = mimi.quantizer.semantic, mimi.quantizer.acoustic
    total = sum(acoustic.codebooks[level][codes[:, level + 1]] for level in range(5))
    expected = (
        semantic.codebooks[0][codes[:, 0]] @ semantic.project_out.weight.T + total @ acoustic.project_out.weight.T
    )
    torch.testing.assert_close(mimi.quantizer.decode(codes), expected)


def test_the_input_of_a_step_is_the_sum_of_its_rows(model: SttModel) -> None:
    """spec/model.md §2.2: text rows first, then each codebook's, each with one more row for its start token."""
    lm, table = model.lm, model.lm.embeddings
    text, codes = torch.tensor([[7]]), torch.tensor([[[0, 63, 64, 5]]])
    expected = table[7] + table[33] + table[33 + 65 + 63] + table[33 + 130 + 64] + table[33 + 195 + 5]
    torch.testing.assert_close(lm.embed(text, codes)[0, 0], expected)


def test_a_missing_token_adds_exactly_nothing(model: SttModel) -> None:
    nothing = torch.full((1, 1), -1), torch.full((1, 1, 4), -1)
    assert torch.equal(model.lm.embed(*nothing), torch.zeros(1, 1, 64))


def test_a_stream_starts_with_the_start_tokens(model: SttModel) -> None:
    text, codes = model.lm.start(2)
    assert text.tolist() == [[32], [32]]
    assert codes.tolist() == [[[64] * 4]] * 2


@LAW
@given(chunks=st.lists(st.integers(1, 4), min_size=1, max_size=10))
def test_how_many_frames_come_at_once_never_changes_the_logits(model: SttModel, chunks: list[int]) -> None:
    generator = torch.Generator().manual_seed(1)
    text = torch.randint(0, 32, (1, sum(chunks)), generator=generator)
    codes = torch.randint(0, 64, (1, sum(chunks), 4), generator=generator)
    state = model.lm.state(1, frames=4)
    parts = zip(text.split(chunks, 1), codes.split(chunks, 1), strict=True)
    logits = torch.cat([model.lm(t, c, state, Rows([0]))[0] for t, c in parts], 1)
    torch.testing.assert_close(logits, model.lm(text, codes)[0], atol=1e-4, rtol=1e-4)
