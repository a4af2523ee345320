"""The LM of an engine on a GPU: keys and values in pages, what stands between the products fused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vivavoce.nn.lm import Lm
from vivavoce.nn.rows import Rows
from vivavoce.nn.transformer import GatedFeedForward, Layer

from ..answer import Answer
from .kernels import rows as kernels
from .memory import Memory
from .pages import Pages
from .rows import AnyRows
from .sizes import PAGE, ring_of
from .support import hears_only

PROMISE = 4  # a stream is promised this part of its ring


class PagedLm:
    """`Stepper` over one LM for `slots` streams that bring at most `frames` frames a call.

    Keys and values are kept in `memory`, the LM's own dtype if None; `pages` None is enough for all slots. Where pages
    run out, `reset` raises StreamError, and streams that need more keep less of what they heard.
    """

    def __init__(
        self, lm: Lm, slots: int, frames: int, memory: torch.dtype | None = None, pages: int | None = None,
        page: int = PAGE,
    ) -> None:  # fmt: skip
        assert hears_only(lm), "the kernels know no cross-attention and one text stream"
        config, table = lm.config, lm.embeddings
        self._lm, self._slots, self._device = lm, slots, table.device
        ring = ring_of(config.context, frames, page)
        count = slots * ring if pages is None else pages
        self.pages = Pages(slots, ring, count, page, max(2, -(-ring // PROMISE), ring_of(1, frames, page)))
        self.memory = Memory(lm.transformer.config, slots, ring, count, memory or table.dtype, table.device, page)
        self._heard = np.zeros(slots, np.int64)  # `position` on the host, but for slots that the engine may set back
        self._unsure = set[int]()
        self._heads = torch.cat([lm.text_head.weight, lm.extra_heads.flatten(0, 1)]).detach()

    @property
    def position(self) -> Tensor:
        return self.memory.position

    def hear(self, rows: Rows, text: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """text int64 [B, T], codes int64 [B, T, n_q] to what `Lm.forward` gives."""
        config = self._lm.config
        heads = self.hear_heads(rows, text, codes).float().unflatten(0, text.shape)
        extra = heads[..., config.text_card_out :].unflatten(-1, (config.extra_heads, config.extra_heads_dim))
        return heads[..., : config.text_card_out], extra

    def answer(self, rows: Rows, text: Tensor, codes: Tensor) -> Answer:
        """What that comes to."""
        return Answer.of(*self.hear(rows, text, codes))

    def hear_heads(self, rows: Rows, text: Tensor, codes: Tensor) -> Tensor:
        """As `hear`, all heads side by side: [B * T, text_card_out + extra_heads * extra_heads_dim]."""
        count = text.shape[1]
        if isinstance(rows, AnyRows):
            assert count == 1
            entries = self.memory.position[rows.index] // self.memory.page % self.pages.ring
            self.memory.table[rows.index, entries] = rows.pages
        else:
            self._make_room(rows, count)
        places = self.memory.places(rows, count)
        config = self._lm.config
        text_ids, code_ids = config.text_card + 1, config.card + 1
        x = kernels.embed(text.flatten(), codes.flatten(0, 1), self._lm.embeddings, text_ids, code_ids)
        delta: Tensor | None = None
        for i, layer in enumerate(cast("Sequence[Layer]", self._lm.transformer.layers)):
            feed_forward = cast("GatedFeedForward", layer.feed_forward)
            seen = kernels.norm(x, delta, cast("Tensor", layer.norm1.alpha))
            heard = self.memory.attend(i, layer.attention.qkv(seen), places)
            seen = kernels.norm(x, layer.attention.out(heard), cast("Tensor", layer.norm2.alpha))
            delta = feed_forward.outer(kernels.gate(feed_forward.inner(seen)))
        return F.linear(kernels.norm(x, delta, self._lm.norm.alpha), self._heads)

    def prefill(self, text: Tensor, codes: Tensor, slot: int, position: int) -> None:
        """`slot`, which was reset, hears text [1, T] and codes [1, T, n_q] in one pass, from `position` on."""
        count = text.shape[1]
        ahead = self._lm.state(1, count)
        self._lm.prefill(text, codes, ahead, 0, position)
        end = position + count
        first = max(position, end - self._lm.config.context + 1)
        self.pages.open(slot, position)
        self.memory.reset(slot, position)
        self._reach(np.full(end - first, slot), np.arange(first, end))
        self.memory.adopt(slot, ahead)
        self._heard[slot] = end

    def reset(self, slot: int) -> None:
        """Another stream begins. Raises StreamError when there is no room for it."""
        self.pages.open(slot)
        self.memory.reset(slot)
        self._heard[slot] = 0
        self._unsure.discard(slot)

    def release(self, slot: int) -> None:
        """The stream of `slot` is over: its pages are free."""
        self.pages.close(slot)

    def next_pages(self, slots: NDArray[np.int64]) -> NDArray[np.int32]:
        """The page of the next position of each slot, for a step that is then launched."""
        self._settle(slots)
        _, pages, moved = self.pages.reach(slots, self._heard[slots])
        self._tell_oldest(moved)
        self._heard[slots] += 1
        return pages

    def _make_room(self, rows: Rows, count: int) -> None:
        slots = rows.index.cpu().numpy()
        self._settle(slots)
        positions = self._heard[slots][:, None] + np.arange(count)
        self._reach(slots.repeat(count), positions.reshape(-1))
        self._heard[slots] += count
        self._unsure.update(slots.tolist())

    def _reach(self, slots: NDArray[np.int64], positions: NDArray[np.int64]) -> None:
        entries, pages, moved = self.pages.reach(slots, positions)
        self._tell_oldest(moved)
        index = (torch.from_numpy(part).to(self._device) for part in (slots, entries))
        self.memory.table[tuple(index)] = torch.from_numpy(pages).to(self._device)

    def _tell_oldest(self, moved: set[int]) -> None:
        for slot in moved:
            self.memory.oldest[slot] = int(self.pages.oldest[slot])

    def _settle(self, slots: NDArray[np.int64]) -> None:
        """Look where the engine has set those back that it let hear several frames."""
        if self._unsure and (here := sorted(self._unsure.intersection(slots.tolist()))):
            self._heard[here] = self.memory.position[here].cpu().numpy()
            self._unsure.difference_update(here)
