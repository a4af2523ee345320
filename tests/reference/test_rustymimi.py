"""The codec at its real size against the Rust implementation (candle), which knows no other size, and moshi."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vivavoce.checkpoints import SttModel, save_stt
from vivavoce.engine.codec import EncoderOf, PlainEncoder, fastest_encoder
from vivavoce.nn.mimi import Mimi, MimiConfig
from vivavoce.nn.rows import Rows

SECONDS = 10  # the attention window
REAL = MimiConfig(
    encoder_filters=64, decoder_filters=64, ratios=(4, 5, 6, 8), kernels=(7, 3, 3), dimension=512, encoder_layers=8,
    decoder_layers=8, hidden=2048, codebooks=32, bins=2048, codebook_dim=256,
)  # fmt: skip


@pytest.fixture(scope="module")
def model(make_model: Callable[..., SttModel]) -> SttModel:
    return make_model(mimi=REAL, lm={"card": 2048})


@pytest.fixture(scope="module")
def file(model: SttModel, tokenizer: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    save_stt(model, folder, tokenizer=tokenizer)
    return folder / "mimi.safetensors"


@pytest.fixture(scope="module", params=[PlainEncoder, fastest_encoder], ids=["pytorch", "native"])
def codes(model: SttModel, audio: Callable[..., Tensor], request: pytest.FixtureRequest) -> Tensor:
    """Our codes [frames, 32], streamed two frames a call."""
    encoder_of: EncoderOf = request.param
    encoder, rows = encoder_of(model.mimi, 1, 2), Rows([0])
    with torch.no_grad():
        chunks = [encoder.encode(rows, chunk, 32)[0] for chunk in audio(SECONDS).split(2 * 1920, 1)]
    return torch.cat(chunks)


def test_all_codes_of_ten_seconds_are_the_rust_codecs(file: Path, codes: Tensor, audio: Callable[..., Tensor]) -> None:
    rustymimi = pytest.importorskip("rustymimi", reason="the reference package rustymimi is not installed")
    peer = rustymimi.Tokenizer(str(file), num_codebooks=32)
    frames = audio(SECONDS)[0].split(1920)
    theirs = np.concatenate([peer.encode_step(frame.numpy()[None, None]) for frame in frames], -1)[0].T
    assert all(len(book.unique()) > 30 for book in codes.T)
    assert codes.tolist() == theirs.tolist()


def test_all_codes_of_ten_seconds_are_moshis(file: Path, codes: Tensor, audio: Callable[..., Tensor]) -> None:
    loaders = pytest.importorskip("moshi.models.loaders", reason="the reference package moshi is not installed")
    peer = loaders.get_mimi(file, num_codebooks=32)
    with torch.no_grad(), peer.streaming(1):
        theirs = torch.cat([peer.encode(frame[None]) for frame in audio(SECONDS).split(1920, 1)], -1)
    assert torch.equal(codes, theirs[0].T)


def test_decoded_audio_is_the_rust_codecs(file: Path, model: SttModel, codes: Tensor) -> None:
    rustymimi = pytest.importorskip("rustymimi", reason="the reference package rustymimi is not installed")
    peer = rustymimi.Tokenizer(str(file), num_codebooks=32)
    some = codes[:12]
    theirs = np.concatenate([peer.decode_step(c.numpy().astype(np.uint32)[None, :, None]) for c in some], -1)
    ours = decoded(model.mimi, some)
    assert ours.std() > 0.05
    torch.testing.assert_close(ours, torch.from_numpy(theirs[0, 0]), atol=1e-5, rtol=0)


@torch.no_grad()
def decoded(mimi: Mimi, codes: Tensor) -> Tensor:
    state, rows = mimi.decoder_state(1), Rows([0])
    return torch.cat([mimi.decode(column[None, None], state, rows)[0] for column in codes])
