"""The language model over frames (spec/model.md §2): a column of codes and a text token in, the next text token out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .demux import demultiplex
from .depformer import Depformer, DepformerConfig
from .rows import Rows
from .transformer import RmsNorm, Transformer, TransformerConfig, TransformerState


@dataclass(frozen=True)
class LmConfig:
    """Sizes; the names are those of the released config.json where it has them."""

    dim: int
    num_heads: int
    num_layers: int
    hidden: int
    n_q: int  # codebooks heard
    card: int  # codes in a codebook; id `card` is the start token
    text_card: int  # text ids heard; id `text_card` is the start token
    text_card_out: int  # text ids predicted
    context: int
    max_period: float
    extra_heads: int = 0
    extra_heads_dim: int = 0
    depformer: DepformerConfig | None = None  # a model that speaks has one
    delays: tuple[int, ...] = ()  # steps by which each codebook that is spoken lags the semantic one's place
    demux: bool = False  # a text id may stand for two, see demux.py
    cross_attention: bool = False


class Lm(nn.Module):
    """Step p hears (text[p-1], codes[p-1]), start tokens at p = 0, and predicts text[p] (spec §3.1).

    One table holds every embedding: the text rows, the rows of each codebook, and a last row of zeros for id -1.
    """

    def __init__(self, config: LmConfig) -> None:
        super().__init__()
        self.config = config
        rows = config.text_card + 1 + config.n_q * (config.card + 1) + 1
        self.embeddings = nn.Parameter(torch.zeros(rows, config.dim))
        self.transformer = Transformer(
            TransformerConfig(
                config.dim,
                config.num_heads,
                config.num_layers,
                config.hidden,
                config.context,
                config.max_period,
                gated=True,
                cross=config.cross_attention,
            )
        )
        self.text_first, self.text_second = (
            nn.Linear(config.dim, config.dim, bias=False) if config.demux else None for _ in range(2)
        )
        self.norm = RmsNorm(config.dim)
        self.text_head = nn.Linear(config.dim, config.text_card_out, bias=False)
        self.extra_heads = nn.Parameter(torch.zeros(config.extra_heads, config.extra_heads_dim, config.dim))
        spoken = config.depformer
        self.depformer = (
            None if spoken is None else Depformer(spoken, config.dim, config.card, config.text_card, config.demux)
        )

    def state(self, slots: int, frames: int = 1, source: int = 0) -> TransformerState:
        """Memory for `slots` streams that bring at most `frames` frames a call, with conditions of length `source`."""
        return self.transformer.state(slots, frames, source)

    def embed(self, text: Tensor, codes: Tensor) -> Tensor:
        """text int64 [B, T], codes int64 [B, T, n_q] to [B, T, dim]; id -1 adds nothing."""
        if self.text_first is None or self.text_second is None:
            return self._rows(torch.cat([text[..., None], codes], -1)).sum(-2)
        first, second = demultiplex(text, self.config.text_card + 1)
        rows = self._rows(torch.cat([first[..., None], codes], -1))
        added = self.text_first(rows[..., 0, :]) + self.text_second(self._rows(second[..., None])[..., 0, :])
        return rows[..., 1:, :].sum(-2) + added

    def _rows(self, ids: Tensor) -> Tensor:
        """Ids [..., k] of the text and the first k - 1 codebooks to their rows [..., k, dim]."""
        config = self.config
        first = torch.arange(ids.shape[-1], device=ids.device) * (config.card + 1)  # row of each codebook's code 0
        first[1:] += config.text_card - config.card
        nothing = len(self.embeddings) - 1
        return F.embedding((ids + first).masked_fill(ids < 0, nothing), self.embeddings, nothing)

    def forward(
        self, text: Tensor, codes: Tensor, state: TransformerState | None = None, rows: Rows | None = None
    ) -> tuple[Tensor, Tensor]:
        """text [B, T], codes [B, T, n_q] to text logits [B, T, text_card_out] and [B, T, heads, classes], fp32."""
        return self.predict(self.embed(text, codes), state, rows)

    def predict(
        self, embedded: Tensor, state: TransformerState | None = None, rows: Rows | None = None
    ) -> tuple[Tensor, Tensor]:
        """`forward` from inputs that are embedded already, [B, T, dim]."""
        hidden = self.hear(embedded, state, rows)
        extra = torch.einsum("btd,hcd->bthc", hidden, self.extra_heads)
        return self.text_head(hidden).float(), extra.float()

    def hear(
        self,
        embedded: Tensor,
        state: TransformerState | None = None,
        rows: Rows | None = None,
        source: Tensor | None = None,
    ) -> Tensor:
        """Inputs [B, T, dim] to what the heads and the depformer are given, [B, T, dim]; `source` as `Fused` has it."""
        return self.norm(self.transformer(embedded, state, rows, source))

    def teach(
        self, text: Tensor, codes: Tensor, added: Tensor | None = None, source: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """All logits of a model that speaks, with every token given: the pass to train with.

        text int64 [B, T] and codes int64 [B, T, n_q] are columns, one a step, with their delays (delays.py); position
        p hears those up to p - 1, and for the codes of p also the text and the earlier codes of p. `added` and
        `source` as `Fused` has them. Gives text logits [B, T, text_card_out] and code logits [B, T, dep_q, card].
        """
        assert self.depformer is not None
        start_text, start_codes = self.start(len(text))
        before = torch.cat([start_text, text[:, :-1]], 1), torch.cat([start_codes, codes[:, :-1]], 1)
        embedded = self.embed(*before)
        hidden = self.hear(embedded if added is None else embedded + added, source=source)
        spoken = codes[..., : self.depformer.config.dep_q]
        return self.text_head(hidden).float(), self.depformer(hidden, text, spoken).float()

    def prefill(self, text: Tensor, codes: Tensor, state: TransformerState, slot: int, position: int) -> None:
        """`slot`, which was reset, hears text [1, T] and codes [1, T, n_q] in one pass, from `position` on."""
        self.transformer.prefill(self.embed(text, codes), state, slot, position)

    def start(self, batch: int) -> tuple[Tensor, Tensor]:
        """The start tokens: text [batch, 1] and codes [batch, 1, n_q]."""
        new = torch.full((batch, 1, self.config.n_q + 1), self.config.card, device=self.embeddings.device)
        return new[..., 0] * 0 + self.config.text_card, new[..., 1:]
