"""Sessions: who has signed in, for how long, and until when they sign out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import select

from . import secret, tables
from .database import Database
from .errors import AccountsError
from .people import COLUMNS, Account, Status, account_of


@dataclass(frozen=True)
class Session:
    """One sign-in; moments in seconds since 1970."""

    id: str
    account_id: str
    created_at: float
    updated_at: float
    expires_at: float
    ip_address: str
    user_agent: str


_OWN = [tables.sessions.c[field.name] for field in fields(Session)]


def session_of(row: Sequence[Any]) -> Session:
    """From a row of the session's columns, perhaps with others behind."""
    return Session(*tuple(row)[: len(_OWN)])


class Sessions:
    """All sessions. What the browser or program holds is a secret of its own; the database has its digest."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database, self._clock = database, clock

    def begin(self, account: Account, seconds: float, address: str = "", agent: str = "") -> tuple[Session, str]:
        """A new one, good for so many seconds, and its secret. Those that are over are forgotten.

        Raises AccountsError account_rejected.
        """
        if account.status is Status.REJECTED:
            raise AccountsError("account_rejected", "the account may not use this server", 403)
        now, key = self._clock(), secret.fresh()
        session = Session(secret.fresh_id(), account.id, now, now, now + seconds, address[:64], agent[:200])
        with self._database.begin() as connection:
            connection.execute(tables.sessions.delete().where(tables.sessions.c.expires_at <= now))
            row = {**vars(session), "secret_hash": secret.digest(key)}
            connection.execute(tables.sessions.insert().values(row))
        return session, key

    def find(self, key: str) -> tuple[Session, Account] | None:
        """Whose secret it is, unless the session is over."""
        return self._find(tables.sessions.c.secret_hash == secret.digest(key))

    def of_token(self, id: str) -> tuple[Session, Account] | None:
        """The session that a token names, unless it is over."""
        return self._find(tables.sessions.c.id == id)

    def refresh(self, key: str) -> tuple[Session, Account, str]:
        """The session goes on with another secret, which is returned; the old one is void.

        A void one that comes again was stolen, or the new one was: the session ends. Raises AccountsError
        invalid_session.
        """
        old, new = secret.digest(key), secret.fresh()
        table, now = tables.sessions, self._clock()
        with self._database.begin() as connection:
            changed = connection.execute(
                table.update()
                .where(table.c.secret_hash == old, table.c.expires_at > now)
                .values(secret_hash=secret.digest(new), previous_hash=old, updated_at=now)
            )
            if not changed.rowcount:
                connection.execute(table.delete().where(table.c.previous_hash == old))
        found = self.find(new) if changed.rowcount else None
        if found is None:
            raise AccountsError("invalid_session", "the session is over", 401, "sign in again")
        return *found, new

    def end(self, id: str) -> None:
        """Signs out; its tokens are refused from then on by every server that has this database."""
        with self._database.begin() as connection:
            connection.execute(tables.sessions.delete().where(tables.sessions.c.id == id))

    def end_all(self, account_id: str, but: str = "") -> None:
        """Of an account, perhaps but one."""
        wanted = (tables.sessions.c.account_id == account_id) & (tables.sessions.c.id != but)
        with self._database.begin() as connection:
            connection.execute(tables.sessions.delete().where(wanted))

    def _find(self, wanted: Any) -> tuple[Session, Account] | None:
        joined = select(*_OWN, *COLUMNS).join(tables.accounts, tables.accounts.c.id == tables.sessions.c.account_id)
        with self._database.begin() as connection:
            row = connection.execute(joined.where(wanted)).one_or_none()
        if row is None or session_of(row).expires_at <= self._clock():
            return None
        return session_of(row), account_of(row[len(_OWN) :])
