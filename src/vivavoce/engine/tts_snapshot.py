"""What it takes to go on speaking in another slot, engine or process. Without torch: servers keep it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .snapshot import in_order

NOTHING = -1  # in a column of codes: in the first steps, and of codebooks that are left out


@dataclass(frozen=True, slots=True, eq=False)
class TtsOptions:
    """How one stream speaks; the same for as long as it lives."""

    voices: tuple[NDArray[np.float32], ...] = ()  # [frames, dim] each: of the main speaker, of the other one
    prefix: NDArray[np.int32] | None = None  # [frames, n_q]: codes of a recording that the stream goes on from
    cfg: float | None = None  # strength of classifier-free guidance; None is the model's own, 1 is none
    temperature: float = 0.6  # of the audio; 0 is greedy
    temperature_text: float = 0.6  # of the choice between speaking on and the next word
    top_k: int = 250
    top_k_text: int = 25
    top_p: float = 0.0  # of the audio, instead of top-k where positive
    padding_bonus: float = 0.0  # added to the logit of saying nothing: positive speaks more slowly
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class TtsSnapshot:
    """The newest inputs of a stream, from which `TtsEngine.restore` rebuilds its state. Pickles.

    Raises ValueError when the parts do not belong together.
    """

    steps: int  # since the stream was opened, the prefix not counted
    tokens: NDArray[np.int32]  # [k]: the text token that each of the newest steps fed, oldest first, k from 1 to steps
    codes: NDArray[np.int32]  # [k, dep_q]: the column that each of them gave, delays included, -1: none
    options: TtsOptions = field(default_factory=TtsOptions)

    def __post_init__(self) -> None:
        if not min(1, self.steps) <= len(self.tokens) <= self.steps:
            raise ValueError(f"a snapshot after {self.steps} steps cannot hold {len(self.tokens)} text tokens")
        if self.tokens.ndim != 1 or self.codes.ndim != 2 or len(self.codes) != len(self.tokens):
            raise ValueError(
                f"a snapshot with {list(self.tokens.shape)} text tokens needs as many columns of codes, "
                f"got {list(self.codes.shape)}"
            )

    def must_fit(self, dep_q: int, card: int, text_ids: int, least: int = 1) -> None:
        """Raises ValueError unless a model with these sizes can have made it: on a GPU a wrong id ends every stream.

        `text_ids` counts what may be fed, both text streams of a model with two multiplied; `least` is how many steps
        the model's delays reach over.
        """
        if len(self.tokens) < min(self.steps, least):
            raise ValueError(
                f"a snapshot after {self.steps} steps needs at least {least} of them, got {len(self.tokens)}"
            )
        if self.codes.shape[1:] != (dep_q,):
            raise ValueError(f"the LM speaks {dep_q} codebooks, the snapshot's codes are {list(self.codes.shape)}")
        for name, ids, end in (("codes", self.codes, card), ("text tokens", self.tokens, text_ids)):
            if ids.size and not NOTHING <= ids.min() <= ids.max() < end:
                raise ValueError(f"the LM knows {name} -1 to {end - 1}, the snapshot has {ids.min()} to {ids.max()}")


class TtsHistory:
    """Collects a stream's snapshot while it is stepped, the newest `most` steps of it, in rings of a fixed size."""

    def __init__(self, most: int, dep_q: int) -> None:
        assert most > 0, f"nothing kept: {most} steps"
        self.steps = 0  # since the stream was opened
        self._tokens = np.empty(most, np.int32)
        self._codes = np.empty((most, dep_q), np.int32)

    def add(self, token: int, codes: Sequence[int] | None) -> None:
        """One step: the text token that was fed, and the column of dep_q codes; None where none was generated."""
        at = self.steps % len(self._tokens)
        self._tokens[at] = token
        self._codes[at] = NOTHING if codes is None else codes
        self.steps += 1

    def snapshot(self, options: TtsOptions) -> TtsSnapshot:
        """The stream as it stands after the newest step; a copy."""
        return TtsSnapshot(self.steps, in_order(self._tokens, self.steps), in_order(self._codes, self.steps), options)
