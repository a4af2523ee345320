"""One database with everything that is in it."""

from __future__ import annotations

import time
from collections.abc import Callable

from . import secret
from .database import Database
from .keys import Keys
from .ledger import Ledger
from .people import People
from .sessions import Sessions


class Accounts:
    """People, sessions, keys and the ledger of one database (`database.Database`). Raises DatabaseError."""

    def __init__(self, url: str, clock: Callable[[], float] = time.time, *, make: bool = True) -> None:
        self.clock = clock
        self.database = Database(url, make=make)
        self.people = People(self.database, clock)
        self.sessions = Sessions(self.database, clock)
        self.keys = Keys(self.database, clock)
        self.ledger = Ledger(self.database, clock, secret.fresh_id())

    def close(self) -> None:
        self.database.close()
