"""What a speaking engine steps: LM and depformer with what they remember of every row, in PyTorch or in native code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from vivavoce.nn.conditions import Fused
from vivavoce.nn.lm import Lm
from vivavoce.nn.rows import Rows
from vivavoce.nn.sampling import Choice, draw

from .kernels.library import library
from .kernels.lm import can_step
from .kernels.speech import NativeSpeech
from .stepper import THREAD, must_not_be, precision_of


class TtsStepper(Protocol):
    """A row is a stream, or what guides one."""

    @property
    def position(self) -> Tensor:
        """Positions heard, int64 [rows]."""
        ...

    @property
    def heard(self) -> list[Tensor]:
        """Keys and values of all rows, as they lie."""
        ...

    def begin(self, row: int, fused: Fused) -> None:
        """`row` has heard nothing yet but these conditions, of a batch of one."""
        ...

    def prefill(self, text: Tensor, codes: Tensor, row: int, position: int) -> None:
        """`row`, which has begun, hears text [1, T] and codes [1, T, n_q], T of any length, from `position` on."""
        ...

    def hear(self, rows: Rows, text: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """text int64 [B], codes int64 [B, n_q] to what `speak` is given, [B, dim], and text logits [B, classes]."""
        ...

    def speak(self, hidden: Tensor, text: Tensor, choice: Choice) -> Tensor:
        """Codes int64 [B, codebooks] for hidden [B and one for each that is guided, dim] and text int64 [B]."""
        ...


TtsStepperOf = Callable[[Lm, int, int, int], TtsStepper]  # of so many codebooks and rows, and a length of conditions


class PlainTts:
    """`TtsStepper` in PyTorch, on any device."""

    def __init__(self, lm: Lm, codebooks: int, rows: int, source: int) -> None:
        assert lm.depformer is not None, "a model that only hears"
        self._lm, self._depformer, self._codebooks = lm, lm.depformer, codebooks
        self._state = lm.state(rows, source=source)
        self._added = lm.embeddings.new_zeros(rows, 1, lm.config.dim)

    @property
    def position(self) -> Tensor:
        return self._state.position

    @property
    def heard(self) -> list[Tensor]:
        return [part for ring in self._state.rings for part in (ring.keys, ring.values)]

    def begin(self, row: int, fused: Fused) -> None:
        self._state.reset(row)
        self._added[row] = 0 if fused.added is None else fused.added[0]
        if fused.source is not None:
            self._lm.transformer.attend(fused.source, self._state, row)

    def prefill(self, text: Tensor, codes: Tensor, row: int, position: int) -> None:
        if text.numel():
            embedded = self._lm.embed(text, codes) + self._added[row]
            self._lm.transformer.prefill(embedded, self._state, row, position)
        else:
            self._state.position[row] = self._state.oldest[row] = position

    def hear(self, rows: Rows, text: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        embedded = self._lm.embed(text[:, None], codes[:, None]) + rows.read(self._added)
        hidden = self._lm.hear(embedded, self._state, rows)[:, 0]
        return hidden, self._lm.text_head(hidden).float()

    def speak(self, hidden: Tensor, text: Tensor, choice: Choice) -> Tensor:
        count, guided = len(text), list(choice.guided)
        where = torch.tensor(guided, dtype=torch.long, device=text.device)
        strength = choice.strength.to(hidden.dtype)[:, None]

        def pick(logits: Tensor, k: int) -> Tensor:
            if guided:
                away = logits[count:]
                logits = logits[:count].index_copy(0, where, away + (logits[guided] - away) * strength)
            codes = draw(logits.float(), choice.sampling, choice.keys[:, k + 1])
            return torch.cat([codes, codes[guided]]) if guided else codes

        text = torch.cat([text, text[guided]]) if guided else text
        return self._depformer.generate(hidden, text, pick, self._codebooks)[:count]


def fastest_tts(lm: Lm, codebooks: int, rows: int, source: int, *, packed: str | None = None) -> TtsStepper:
    """Native code where it can be, in the precision of the model, with at most as many threads as PyTorch uses.

    `packed` as of `fastest`, of the depformer too.
    """
    kernels = library() if can_step(lm) else None
    if kernels is None:
        must_not_be(packed)
        return PlainTts(lm, codebooks, rows, source)
    weights = sum(weight.numel() for part in (lm.transformer, lm.depformer) if part for weight in part.parameters())
    threads = min(torch.get_num_threads(), 1 + weights // THREAD)
    return NativeSpeech(kernels, lm, codebooks, rows, source, precision_of(packed), threads)
