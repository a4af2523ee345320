"""The engine on a GPU: a step of all streams is one captured graph, from samples to tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vivavoce.engine.outputs import Outputs
from vivavoce.engine.stt import SttEngine, clean
from vivavoce.engine.terms import Bonus
from vivavoce.nn.lm import Lm
from vivavoce.nn.mimi import Mimi
from vivavoce.nn.rows import Rows

from .budget import Budget
from .codec import SlotEncoder
from .graphs import Graphs
from .kernels.choice import choose
from .lm import PagedLm
from .memory import repeated
from .rows import AnyRows
from .sizes import PAGE

NONE = -1  # the row of who has no bonus


@dataclass(frozen=True)
class Launched:
    """A step that is on its way."""

    slots: list[int]
    heads: int
    graphs: Graphs
    ticket: int

    @property
    def done(self) -> bool:
        return self.graphs.done(self.ticket)

    def outputs(self) -> Outputs:
        told = self.graphs.read(self.ticket, len(self.slots)).copy()
        numbers = told[:, 1 : 2 + self.heads].view(np.float32)
        return Outputs(self.slots, told[:, 0], numbers[:, 0], numbers[:, 1:], told[:, 2 + self.heads :])


class GraphedEngine(SttEngine):
    """`SttEngine` whose `step` is captured, one graph for each size of batch; everything else runs as it is called.

    Keys and values of the LM are kept in `memory` and the codec runs in `codec`, by default in the dtypes of the model,
    or, where that has no room for all slots, in 8 bits; `pages` is how many there are, by default as many as fit.
    """

    SPARE: ClassVar = 1  # that of nobody, for rows that pad a batch

    def __init__(
        self, mimi: Mimi, lm: Lm, slots: int, *, memory: torch.dtype | None = None, codec: torch.dtype | None = None,
        pages: int | None = None, page: int = PAGE, capture: bool = True, pieces: Sequence[str] = (),
    ) -> None:  # fmt: skip
        if lm.embeddings.device.type == "cuda":
            torch.cuda.set_device(lm.embeddings.device)  # Triton launches on the current one
        if pages is None and lm.embeddings.device.type == "cuda":
            budget = Budget.of(mimi, lm, slots, self.TOGETHER, memory, codec, page)
            memory, pages = budget.memory, budget.pages
        stepper_of = partial(PagedLm, memory=memory, pages=pages, page=page)
        super().__init__(mimi, lm, slots, stepper_of, partial(SlotEncoder, dtype=codec, page=page), pieces)
        config, rows = lm.config, slots + self.SPARE
        self._bonus = torch.zeros(rows, config.text_card_out, device=self.device)  # that of each slot's next step
        self._bonus_row = torch.full((rows,), NONE, dtype=torch.int32, device=self.device)
        self._written = dict[int, Bonus]()  # what lies in `_bonus`, by slot
        told = 2 + config.extra_heads + config.n_q  # token, log-probability, pauses, codes
        self._graphs = Graphs(self._advance, slots, mimi.config.frame_size, told, slots, self.device, capture)

    @property
    def paged(self) -> PagedLm:
        """The LM and its memory."""
        assert isinstance(self._memory, PagedLm)
        return self._memory

    def close(self, slot: int) -> None:
        super().close(slot)
        self._bonus_row[slot] = NONE
        self._written.pop(slot, None)
        self.paged.release(slot)

    def begin(self, frames: Mapping[int, NDArray[np.float32]]) -> Launched:
        """Launch a step; at most two may be on their way, and they are read in their order."""
        self._must_be_open(frames)
        slots = sorted(frames)
        self._write_bonus([slot for slot in slots if slot in self._guides])
        pages = self.paged.next_pages(np.array(slots))
        ticket = self._graphs.launch(slots, pages, [frames[slot] for slot in slots])
        return Launched(slots, self.lm.config.extra_heads, self._graphs, ticket)

    def _write_bonus(self, slots: Sequence[int]) -> None:
        """What the next step of these slots wants, where the graph reads it; waits for their last step's tokens."""
        heard = self._text[torch.tensor(slots, device=self.device)].tolist() if slots else []
        for slot, token in zip(slots, heard, strict=True):
            guide = self._guides[slot]
            (bonus,) = guide.follow([token])
            guide.keep(1)
            if self._written.get(slot) is not bonus:
                self._bonus[slot] = torch.from_numpy(bonus)
                self._bonus_row[slot] = slot
                self._written[slot] = bonus

    def _advance(self, rows: AnyRows, audio: Tensor) -> Tensor:
        """Samples [B, frame_size] of these rows to all that is told of them, int32 [B, told]."""
        codes = self._codec.encode(rows, clean(audio), self.lm.config.n_q)
        token, logprob, vad = self._hear(rows, rows.read(self._text)[:, None], codes)
        rows.write(self._text, token[:, -1])
        numbers = torch.cat([logprob, vad[:, 0]], 1).view(torch.int32)
        return torch.cat([token.int(), numbers, codes[:, 0].int()], 1)

    @torch.inference_mode()
    def _hear(self, rows: Rows, text: Tensor, codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        config, shape = self.lm.config, text.shape
        position = rows.read(self._memory.position)[:, None] + torch.arange(shape[1], device=self.device)
        heads = self.paged.hear_heads(rows, text, codes)
        temperature, seed = (repeated(rows.read(of), shape[1]) for of in (self._temperature, self._seed))
        wants = self._wants(rows, text)
        token, logprob = choose(heads, config.text_card_out, temperature, seed, position.flatten(), *wants)
        extra = heads[:, config.text_card_out :].float().unflatten(1, (config.extra_heads, config.extra_heads_dim))
        pauses = extra.softmax(-1)[..., 0] if config.extra_heads else extra.flatten(1)
        return token.view(shape), logprob.view(shape), pauses.view(*shape, config.extra_heads)

    def _wants(self, rows: Rows, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Bonuses, which of them each row of text [B, T] has, and the kinds of tokens. Of a graph, as they lie."""
        if isinstance(rows, AnyRows):
            return self._bonus, rows.read(self._bonus_row), self._kinds
        which = torch.full((text.numel(),), NONE, dtype=torch.int32, device=self.device)
        wanted = self._wanted(rows, text)
        if wanted is None:
            return self._bonus, which, self._kinds
        which[wanted.rows] = torch.arange(len(wanted.rows), dtype=torch.int32, device=self.device)
        return wanted.bonus, which, self._kinds
