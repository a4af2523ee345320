"""API keys: `vv_ID_SECRET`. The id finds the row, the digest of the secret proves it; the key is shown once."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import select

from . import KEY_PREFIX, secret, tables
from .database import Database
from .errors import AccountsError
from .people import LONGEST_NAME, Account, Status, demand_limits

SCOPES = ("stt", "tts")
_TEXT = re.compile(rf"{KEY_PREFIX}([0-9a-f]{{1,32}})_([\w-]+)", re.ASCII)
MOST_OF_AN_ACCOUNT = 100  # keys that are not revoked


@dataclass(frozen=True)
class Key:
    """What is known of a key; moments in seconds since 1970."""

    id: str
    account_id: str
    name: str
    scopes: tuple[str, ...]
    max_streams: int | None  # at once
    audio_seconds: float | None  # in a calendar month
    created_at: float
    expires_at: float | None
    revoked_at: float | None


COLUMNS = [tables.api_keys.c[field.name] for field in fields(Key)]


def key_of(row: Sequence[Any]) -> Key:
    """From a row of COLUMNS, perhaps with others behind."""
    values = dict(zip((field.name for field in fields(Key)), row))
    return Key(**{**values, "scopes": tuple(values["scopes"].split())})


class Keys:
    """All keys."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database, self._clock = database, clock

    def create(
        self,
        account: Account,
        name: str = "",
        scopes: Iterable[str] = SCOPES,
        seconds: float | None = None,
        max_streams: int | None = None,
        audio_seconds: float | None = None,
    ) -> tuple[Key, str]:
        """A key that is good for so many `seconds` (None: until it is revoked), and its text, which is kept nowhere.

        Raises AccountsError: not_approved, invalid_scope, invalid_limit, invalid_name, too_many_keys.
        """
        scopes = tuple(dict.fromkeys(scopes))
        _demand(account, name, scopes, seconds)
        demand_limits(max_streams, audio_seconds)
        name_of_it, text, now = secret.fresh_id(), secret.fresh(), self._clock()
        expires = None if seconds is None else now + seconds
        key = Key(name_of_it, account.id, name, scopes, max_streams, audio_seconds, now, expires, None)
        row = {**vars(key), "scopes": " ".join(scopes), "secret_hash": secret.digest(text)}
        with self._database.begin() as connection:
            connection.execute(tables.api_keys.insert().values(row))
            live = select(tables.api_keys.c.id).where(
                tables.api_keys.c.account_id == account.id, tables.api_keys.c.revoked_at.is_(None)
            )
            if len(connection.execute(live).all()) > MOST_OF_AN_ACCOUNT:
                why = f"the account has {MOST_OF_AN_ACCOUNT} keys; that is the limit"
                raise AccountsError("too_many_keys", why, 409, "revoke one")
        return key, f"{KEY_PREFIX}{key.id}_{text}"

    def all(self, account_id: str | None = None) -> list[Key]:
        """Of an account or of everyone, the oldest first."""
        statement = select(*COLUMNS).order_by(tables.api_keys.c.created_at, tables.api_keys.c.id)
        if account_id is not None:
            statement = statement.where(tables.api_keys.c.account_id == account_id)
        with self._database.begin() as connection:
            return [key_of(row) for row in connection.execute(statement)]

    def find(self, id: str, account_id: str | None = None) -> Key:
        """By its id. Raises AccountsError not_found, also for a key of another account than the one given."""
        found = [key for key in self.all(account_id) if key.id == id]
        if not found:
            raise AccountsError("not_found", f"there is no key {id!r}", 404)
        return found[0]

    def revoke(self, id: str, account_id: str | None = None) -> Key:
        """It opens nothing from now on; its streams end within seconds. Raises AccountsError not_found."""
        key = self.find(id, account_id)
        with self._database.begin() as connection:
            table = tables.api_keys
            wanted = (table.c.id == key.id) & table.c.revoked_at.is_(None)
            connection.execute(table.update().where(wanted).values(revoked_at=self._clock()))
        return self.find(id)


def parted(text: str) -> tuple[str, str] | None:
    """Id and secret of a key's text; None for what is none of ours."""
    found = _TEXT.fullmatch(text)
    return (found[1], found[2]) if found else None


def proven(kept: str | None, given: str) -> bool:
    """Whether the secret is the one of that digest, in a time that says nothing of it."""
    return hmac.compare_digest(kept or secret.digest(""), secret.digest(given)) and kept is not None


def _demand(account: Account, name: str, scopes: tuple[str, ...], seconds: float | None) -> None:
    if account.status is not Status.APPROVED:
        raise AccountsError("not_approved", f"the account is {account.status}; only an approved one has keys", 403)
    if unknown := [scope for scope in scopes if scope not in SCOPES]:
        raise AccountsError("invalid_scope", f"a scope is one of {', '.join(SCOPES)}, got {unknown[0]!r}")
    if not scopes:
        raise AccountsError("invalid_scope", f"a key has one scope at least, of {', '.join(SCOPES)}")
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise AccountsError("invalid_name", f"a name has at most {LONGEST_NAME} characters that can be printed")
    if seconds is not None and not 0 < seconds <= 1e10:
        raise AccountsError("invalid_expiry", f"a key is good for more than 0 and at most 1e10 s, got {seconds:g}")
