"""What a speaking engine steps, natively: the LM and the depformer of a model."""

from __future__ import annotations

from torch import Tensor

from vivavoce.nn.conditions import Fused
from vivavoce.nn.lm import Lm
from vivavoce.nn.rows import Rows
from vivavoce.nn.sampling import Choice

from .depformer import NativeDepformer
from .library import Library
from .lm import NativeLm
from .weights import Precision

PREFILL = 32  # frames that are heard in one call, weights and memory being read once for all


class NativeSpeech:
    """`TtsStepper` over one model for so many rows, with conditions of length `source`."""

    def __init__(
        self,
        library: Library,
        lm: Lm,
        codebooks: int,
        rows: int,
        source: int,
        precision: Precision | None = None,
        threads: int = 1,
        isa: str | None = None,
    ) -> None:
        assert lm.depformer is not None, "a model that only hears"
        precision = precision or Precision.of(lm.embeddings.dtype)
        self._lm = NativeLm(library, lm, rows, PREFILL, precision, threads, isa, source)
        self._depformer = NativeDepformer(library, lm.depformer, codebooks, rows, precision.weights, threads, isa)

    @property
    def position(self) -> Tensor:
        return self._lm.position

    @property
    def heard(self) -> list[Tensor]:
        return self._lm.heard

    def let_go(self) -> None:
        """Of both."""
        self._lm.let_go()
        self._depformer.let_go()

    def begin(self, row: int, fused: Fused) -> None:
        self._lm.reset(row)
        self._lm.condition(row, fused)

    def prefill(self, text: Tensor, codes: Tensor, row: int, position: int) -> None:
        self._lm.prefill(text, codes, row, position)

    def hear(self, rows: Rows, text: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        hidden, logits = self._lm.listen(rows, text[:, None], codes[:, None])
        return hidden[:, 0], logits[:, 0]

    def speak(self, hidden: Tensor, text: Tensor, choice: Choice) -> Tensor:
        return self._depformer.speak(hidden, text, choice)
