"""Our codec against moshi's, on equal random weights in fp32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from vivavoce.checkpoints import SttModel
from vivavoce.engine.codec import (
    DecoderOf,
    EncoderOf,
    PlainDecoder,
    PlainEncoder,
    fastest_decoder,
    fastest_encoder,
)
from vivavoce.nn.mimi import Mimi
from vivavoce.nn.rows import Rows

MIRRORED = {"decoder_filters": 4, "decoder_layers": 2}  # moshi's decoder has the encoder's sizes


@pytest.fixture(scope="module")
def model(make_model: Callable[..., SttModel]) -> SttModel:
    return make_model(mimi=MIRRORED)


@pytest.fixture
def peer(model: SttModel, moshi: Callable[[SttModel], Any]) -> Any:
    codec = moshi(model).get_mimi()
    codec.set_num_codebooks(model.mimi.config.codebooks)
    return codec


Streamed = Callable[[Mimi, Tensor], Tensor]


@pytest.fixture(params=[PlainEncoder, fastest_encoder], ids=["pytorch", "native"])
def streamed(request: pytest.FixtureRequest) -> Streamed:
    """Codes [frames, codebooks], one frame a call."""
    encoder_of: EncoderOf = request.param

    @torch.no_grad()
    def codes(mimi: Mimi, audio: Tensor) -> Tensor:
        encoder, rows = encoder_of(mimi, 1, 1), Rows([0])
        frames = audio.split(mimi.config.frame_size, 1)
        return torch.cat([encoder.encode(rows, frame, mimi.config.codebooks)[0] for frame in frames])

    return codes


@torch.no_grad()
def streamed_by_moshi(peer: Any, audio: Tensor) -> Tensor:
    with peer.streaming(1):
        return torch.cat([peer.encode(frame[None]) for frame in audio.split(1920, 1)], -1)[0].T


def test_random_weights_give_codes_that_vary(streamed: Streamed, model: SttModel, audio: Callable[..., Tensor]) -> None:
    codes = streamed(model.mimi, audio(4))
    assert all(len(codes[:, book].unique()) > 10 for book in range(codes.shape[1]))


def test_streamed_codes_are_moshis_within_the_attention_window(
    streamed: Streamed, model: SttModel, peer: Any, audio: Callable[..., Tensor]
) -> None:
    """Within, because moshi's ring then loses a key that its own offline pass sees (spec/model.md §1.9)."""
    sound = audio(model.mimi.config.context * 0.04)
    assert torch.equal(streamed(model.mimi, sound), streamed_by_moshi(peer, sound))


def test_codes_far_beyond_the_window_are_moshis_offline_codes(
    streamed: Streamed, model: SttModel, peer: Any, audio: Callable[..., Tensor]
) -> None:
    sound = audio(6)
    with torch.no_grad():
        theirs = peer.encode(sound[None])[0].T
        offline = model.mimi.encode(sound)[0]
    assert torch.equal(offline, theirs)
    assert torch.equal(streamed(model.mimi, sound), theirs)


def test_decoded_audio_is_moshis(model: SttModel, peer: Any, audio: Callable[..., Tensor]) -> None:
    with torch.no_grad():
        codes = model.mimi.encode(audio(6))
        ours, theirs = model.mimi.decode(codes)[0], peer.decode(codes.transpose(1, 2))[0, 0]
    assert ours.std() > 0.01
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("decoder_of", [PlainDecoder, fastest_decoder], ids=["pytorch", "native"])
def test_streamed_decoding_is_moshis_within_the_attention_window(
    decoder_of: DecoderOf, model: SttModel, peer: Any, audio: Callable[..., Tensor]
) -> None:
    mimi = model.mimi
    with torch.no_grad(), peer.streaming(1):
        codes = mimi.encode(audio(mimi.config.context * 0.04))
        decoder, rows = decoder_of(mimi, 1, 1), Rows([0])
        ours = torch.cat([decoder.decode(rows, code)[0] for code in codes.split(1, 1)])
        theirs = torch.cat([peer.decode(code.transpose(1, 2))[0, 0] for code in codes.split(1, 1)])
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_fewer_codebooks_are_the_first_ones(model: SttModel, peer: Any, audio: Callable[..., Tensor]) -> None:
    peer.set_num_codebooks(3)
    with torch.no_grad():
        ours, theirs = model.mimi.encode(audio(1), codebooks=3)[0], peer.encode(audio(1)[None])[0].T
    assert torch.equal(ours, theirs)
