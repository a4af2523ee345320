"""Laws of the parts that only a model that speaks has: depformer, conditions, delays, two text streams in one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vivavoce.nn.conditions import ConditionerConfig, Conditions, ConditionsConfig, pad_sources, sinusoids
from vivavoce.nn.delays import skew, unskew
from vivavoce.nn.demux import demultiplex, multiplex
from vivavoce.nn.depformer import Depformer, DepformerConfig
from vivavoce.nn.lm import Lm, LmConfig
from vivavoce.nn.rows import Rows

DEPFORMER = DepformerConfig(dim=24, num_heads=3, num_layers=2, hidden=20, schedule=(0, 1, 2, 2), rank=7)
CONFIG = LmConfig(
    dim=32, num_heads=2, num_layers=2, hidden=40, n_q=4, card=16, text_card=12, text_card_out=12, context=6,
    max_period=1e4, depformer=DEPFORMER, delays=(0, 2, 2, 2), demux=True, cross_attention=True,
)  # fmt: skip
PLAIN = replace(CONFIG, demux=False, cross_attention=False, depformer=replace(DEPFORMER, rank=0))


def made(config: LmConfig) -> Lm:
    torch.manual_seed(0)
    lm = Lm(config).requires_grad_(False).eval()
    lm.embeddings.normal_()
    lm.embeddings[-1] = 0
    return lm


LMS = {"two texts, conditions, low rank": made(CONFIG), "plain": made(PLAIN)}


def columns(steps: int, config: LmConfig, batch: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(steps)
    text = torch.randint(-1, config.text_card * (config.text_card if config.demux else 1), (batch, steps))
    frames = torch.randint(0, config.card, (batch, steps, config.n_q), generator=generator)
    return text, skew(frames, config.delays, 3, config.card)[:, :steps]


@pytest.mark.parametrize("name", LMS)
def test_teaching_and_stepping_give_the_same_logits(name: str) -> None:
    """Both halves, beyond the LM's context, with -1 among the inputs."""
    lm = LMS[name]
    assert lm.depformer is not None
    text, codes = columns(15, lm.config)
    source = torch.randn(1, 5, 32) if lm.config.cross_attention else None
    added = torch.randn(1, 1, 32)
    taught_text, taught_codes = lm.teach(text, codes, added, source)
    state, rows = lm.state(1, source=5 if source is not None else 0), Rows([0])
    if source is not None:
        lm.transformer.attend(source, state, 0)
    heard = lm.start(1)
    for step in range(15):
        hidden = lm.hear(lm.embed(*heard) + added, state, rows)
        torch.testing.assert_close(lm.text_head(hidden)[0, 0], taught_text[0, step], atol=1e-5, rtol=1e-4)
        logits: list[Tensor] = []

        def given_codes(found: Tensor, k: int, step: int = step, logits: list[Tensor] = logits) -> Tensor:
            logits.append(found[0])
            return codes[:, step, k]

        lm.depformer.generate(hidden[:, 0], text[:, step], given_codes)
        torch.testing.assert_close(torch.stack(logits), taught_codes[0, step], atol=1e-5, rtol=1e-4)
        heard = text[:, step, None], codes[:, step, None]


def test_fewer_codebooks_are_the_first_ones() -> None:
    depformer = LMS["plain"].depformer
    assert depformer is not None
    hidden, text = torch.randn(3, 32), torch.tensor([1, -1, 4])
    codes = depformer.generate(hidden, text, lambda logits, _: logits.argmax(-1))
    assert codes.shape == (3, 4)
    assert torch.equal(depformer.generate(hidden, text, lambda logits, _: logits.argmax(-1), 2), codes[:, :2])


def test_a_code_changes_only_the_later_codebooks_of_its_step() -> None:
    depformer = Depformer(DEPFORMER, 32, 16, 12, demux=True).requires_grad_(False)
    hidden, text, codes = torch.randn(2, 5, 32), torch.zeros(2, 5, dtype=torch.long), torch.zeros(2, 5, 4).long()
    before = depformer(hidden, text, codes)
    codes[1, 3, 1] = 7
    after = depformer(hidden, text, codes)
    assert (before != after).any(-1).nonzero().tolist() == [[1, 3, 2], [1, 3, 3]]


@given(frames=st.integers(1, 6), lead=st.integers(0, 5), delays=st.lists(st.integers(0, 3), min_size=1, max_size=4))
@settings(deadline=None)
def test_delays_are_undone(frames: int, lead: int, delays: list[int]) -> None:
    codes = torch.arange(frames * len(delays)).view(frames, len(delays))
    skewed = skew(codes, delays, lead, card=99)
    assert torch.equal(unskew(skewed, delays)[lead:], codes)
    assert [int((column == 99).sum()) for column in skewed.T] == delays


@given(first=st.integers(0, 8000), second=st.integers(-1, 8000))
def test_two_texts_in_one_id_come_apart_again(first: int, second: int) -> None:
    parts = demultiplex(torch.tensor([multiplex(first, second, 8001), -1]), 8001)
    assert [part.tolist() for part in parts] == [[first, -1], [second, -1]]


def test_an_input_that_is_missing_becomes_the_learnt_padding() -> None:
    """spec/model.md §2.6; the second and third speakers are absent, and the first's last frame."""
    config = ConditionsConfig(
        6, (ConditionerConfig("who", 3), ConditionerConfig("cfg", 2, 2, ("1.0", "2.0"))), ("cfg",), ("who",)
    )
    conditions = Conditions(config).requires_grad_(False)
    heard = pad_sources([torch.randn(3, 3)], slots=3, length=4, dim=3, device=torch.device("cpu"))
    none, two = (conditions({"who": heard, "cfg": conditions["cfg"].ids([value])}) for value in (None, "2.0"))
    assert none.source is not None and none.added is not None and two.added is not None
    padding = conditions["who"].padding
    assert [torch.equal(row, padding) for row in none.source[0]] == [False] * 3 + [True] * 9
    assert torch.equal(none.added[0, 0], conditions["cfg"].padding)
    table = conditions["cfg"].table
    assert table is not None
    torch.testing.assert_close(two.added[0], conditions["cfg"].project(table[1:2]))


def test_a_value_that_was_never_trained_is_refused() -> None:
    conditions = Conditions(ConditionsConfig(6, (ConditionerConfig("cfg", 2, 2, ("1.0", "2.0")),), ("cfg",)))
    with pytest.raises(ValueError, match=r"cfg '1\.7' is not one of 1\.0, 2\.0"):
        conditions["cfg"].ids(["1.7"])


def test_positions_begin_with_cosines() -> None:
    found = sinusoids(3, 4, torch.device("cpu"))
    assert found[0].tolist() == [1, 1, 0, 0]
    torch.testing.assert_close(found[2], torch.tensor([2.0, 2e-4, 2.0, 2e-4]).cos() * torch.tensor([1, 1, 0, 0])
                               + torch.tensor([2.0, 2e-4, 2.0, 2e-4]).sin() * torch.tensor([0, 0, 1, 1]))  # fmt: skip
