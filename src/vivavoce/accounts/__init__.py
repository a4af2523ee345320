"""People, their keys, what they may use and what they have used: one database, SQLite or PostgreSQL.

Synchronous: the database's drivers, argon2 and Alembic are, the command line is, and SQLite has one writer whatever is
awaited. The server calls it from threads (`Meter`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vivavoce.core import UnsupportedError

if TYPE_CHECKING:
    from .accounts import Accounts

KEY_PREFIX = "vv_"  # by which scanners of leaked secrets, and the gate, know a key
ISSUER = "vivavoce"  # of tokens: such a token's session is looked up, so that it ends with the session


def open_accounts(url: str, *, make: bool = True) -> Accounts:
    """The accounts in that database (`database.Database`). Raises UnsupportedError without the extra, DatabaseError."""
    try:
        from .accounts import Accounts
    except ModuleNotFoundError as error:
        missing = f"there is no module {error.name}"
        raise UnsupportedError(
            f"accounts need the extra accounts (pip install 'vivavoce[accounts]'): {missing}"
        ) from None
    return Accounts(url, make=make)
