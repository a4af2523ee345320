"""Finds the stream whose work an engine dies of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from .guest import Guest
from .seam import Engine

G = TypeVar("G", bound=Guest[Any])


class Trial(Generic[G]):
    """Suspects are the streams whose work an engine had when it died of its own accord.

    In the next engine each is alone until that work is done; if this one dies too, it is known of what. One that only
    did not answer may have had no processor: that convicts nobody before the second time.
    """

    def __init__(self) -> None:
        self._suspects = dict[G, int]()  # and the answers that each was owed
        self.tried: G | None = None  # who is alone with the engine
        self._acquitted_at = 0  # steps of it
        self._doubted = set[G]()  # who was alone with an engine that did not answer

    @property
    def goes_on(self) -> bool:
        return bool(self._suspects)

    def accuse(self, suspects: Iterable[tuple[G, int]]) -> None:
        """An engine has died; what it owed to whom."""
        self._suspects.update((guest, answers) for guest, answers in suspects if answers)

    def call(self) -> G | None:
        """The next to be alone with the engine."""
        self.tried = next(iter(self._suspects), None)
        if self.tried:
            self._acquitted_at = self.tried.steps + self._suspects[self.tried]
        return self.tried

    def has_stood(self, engine: Engine) -> bool:
        """Whether the one who is tried has had all its suspicious work done, or has no work."""
        guest = self.tried
        assert guest and guest.number is not None, "nobody is tried"
        return guest.steps >= self._acquitted_at or not engine.owes(guest.number)

    def convicted(self, stalled: bool) -> G | None:
        """The engine has died, or not answered, in the midst of a trial: who is to blame."""
        guest = self.tried
        if guest is None or not stalled or guest in self._doubted:
            return guest
        self._doubted.add(guest)
        return None

    def dismiss(self, guest: G) -> None:
        """No suspect any more: it has stood its trial, or has left."""
        self._suspects.pop(guest, None)
        self._doubted.discard(guest)
        if guest is self.tried:
            self.tried = None

    def adjourn(self) -> None:
        """The engine is gone, and nobody is to blame for it: whoever was tried is called again."""
        self.tried = None
