"""What streams ask of the engine, wherever its process is: a child of this one, or another process's."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .messages import ToEngine


class Engine(Protocol):
    """One engine; another one is another object."""

    @property
    def stalled(self) -> bool:
        """Whether it ended because it had not answered."""

    @property
    def at_fault(self) -> bool:
        """Whether it ended for what it did."""

    @property
    def for_all(self) -> bool:
        """Whether it is for every stream; otherwise for those alone that are tried (`trial.py`)."""

    def trial_over(self) -> None:
        """Nobody here has to be tried any more."""

    def send(self, message: ToEngine) -> None:
        """A message, in its order."""

    def send_frame(self, stream: int, samples: NDArray[np.float32], afresh: bool) -> None:
        """float32 [1920], which must not change any more."""

    def owes(self, stream: int) -> int:
        """Answers that have not come, also when none will any more."""
