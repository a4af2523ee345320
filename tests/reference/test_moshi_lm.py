"""Our language model against moshi's, on equal random weights in fp32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from vivavoce.checkpoints import SttModel, load_stt
from vivavoce.nn.lm import Lm
from vivavoce.nn.rows import Rows


@pytest.fixture(scope="module")
def model(make_model: Callable[..., SttModel]) -> SttModel:
    return make_model()


@pytest.fixture(scope="module")
def codes(model: SttModel, audio: Callable[..., Tensor]) -> Tensor:
    """Codes [1, frames, n_q] of twice the LM's context and a little more."""
    frames = 2 * model.lm.config.context + 3
    with torch.no_grad():
        return model.mimi.encode(audio(frames / 12.5), codebooks=model.lm.config.n_q)


@torch.no_grad()
def greedy(lm: Lm, codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens [frames + 1], logits and heads of one stream: the start step, then one step a frame (spec §3.2)."""
    state, rows = lm.state(1), Rows([0])
    text, start = lm.start(1)
    tokens, logits, heads = [], [], []
    for column in [start, *codes.split(1, 1)]:
        step, extra = lm(text, column, state, rows)
        text = step.argmax(-1)
        tokens, logits, heads = [*tokens, text], [*logits, step], [*heads, extra]
    return torch.cat(tokens, 1)[0], torch.cat(logits, 1)[0], torch.cat(heads, 1)[0]


def moshi_greedy(info: Any, codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    from moshi.models import LMGen

    logits: list[Tensor] = []
    lm = info.get_moshi(dtype=torch.float32)
    generator = LMGen(lm, use_sampling=False, temp=0, temp_text=0, on_text_logits_hook=lambda x: logits.append(x[0, 0]))
    tokens, heads = [], []
    with generator.streaming(1):
        for column in [codes[:, :1], *codes.split(1, 1)]:  # the first frame twice: it replaces the start step's input
            token, extra = generator.step_with_extra_heads(column.transpose(1, 2))
            tokens, heads = [*tokens, token[0, 0]], [*heads, torch.stack(extra, 2)[0]]
    return torch.cat(tokens), torch.cat(logits), torch.cat(heads)


def test_greedy_tokens_are_moshis_over_twice_the_context(
    model: SttModel, codes: Tensor, moshi: Callable[[SttModel], Any]
) -> None:
    ours, _, _ = greedy(model.lm, codes)
    theirs, _, _ = moshi_greedy(moshi(model), codes)
    assert len(ours.unique()) > 5
    assert ours.tolist() == theirs.tolist()


def test_streamed_logits_are_moshis(model: SttModel, codes: Tensor, moshi: Callable[[SttModel], Any]) -> None:
    _, ours, _ = greedy(model.lm, codes)
    _, theirs, _ = moshi_greedy(moshi(model), codes)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_the_pause_heads_are_moshis(model: SttModel, codes: Tensor, moshi: Callable[[SttModel], Any]) -> None:
    _, _, ours = greedy(model.lm, codes)
    _, _, theirs = moshi_greedy(moshi(model), codes)
    torch.testing.assert_close(ours.softmax(-1), theirs, atol=1e-5, rtol=0)


def test_offline_logits_are_moshis(model: SttModel, codes: Tensor, moshi: Callable[[SttModel], Any]) -> None:
    text = torch.randint(0, 32, codes.shape[:2], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours, _ = model.lm(text, codes)
        sequence = torch.cat([text[:, None], codes.transpose(1, 2)], 1)
        _, theirs = moshi(model).get_moshi(dtype=torch.float32).forward_text(sequence)
    torch.testing.assert_close(ours, theirs[:, 0], atol=1e-4, rtol=0)


def test_what_moshi_does_not_hear_neither_do_we(
    model: SttModel, codes: Tensor, moshi: Callable[[SttModel], Any]
) -> None:
    """Id -1 embeds as nothing."""
    text = torch.full(codes.shape[:2], -1)
    partial = codes.clone()
    partial[..., 2:] = -1
    with torch.no_grad():
        ours, _ = model.lm(text, partial)
        sequence = torch.cat([text[:, None], partial.transpose(1, 2)], 1)
        _, theirs = moshi(model).get_moshi(dtype=torch.float32).forward_text(sequence)
    torch.testing.assert_close(ours, theirs[:, 0], atol=1e-4, rtol=0)


def test_offline_and_streamed_passes_agree(model: SttModel, codes: Tensor) -> None:
    tokens, streamed, _ = greedy(model.lm, codes)
    start_text, start_codes = model.lm.start(1)
    with torch.no_grad():
        offline, _ = model.lm(torch.cat([start_text, tokens[None, :-1]], 1), torch.cat([start_codes, codes], 1))
    torch.testing.assert_close(streamed, offline[0], atol=1e-4, rtol=0)


def test_bfloat16_logits_are_close_to_moshis_bfloat16(
    model: SttModel, codes: Tensor, moshi: Callable[[SttModel], Any]
) -> None:
    info = moshi(model)
    ours = load_stt(info.moshi_weights.parent, device="cpu", dtype="bf16")
    text = torch.zeros(codes.shape[:2], dtype=torch.long)
    with torch.no_grad():
        exact, _ = model.lm(text, codes)
        rounded, _ = ours.lm(text, codes)
        _, theirs = info.get_moshi(dtype=torch.bfloat16).forward_text(torch.cat([text[:, None], codes.mT], 1))
    assert ours.lm.embeddings.dtype == torch.bfloat16
    assert ours.mimi.quantizer.semantic.codebooks.dtype == torch.float32
    off = (rounded - exact).square().mean().sqrt()
    assert off < 2 * (theirs[:, 0].float() - exact).square().mean().sqrt()
    assert off < 0.05 * exact.std()
