"""Accounts: who has one, and whether it was approved."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Select, select
from sqlalchemy.exc import IntegrityError

from . import secret, tables
from .database import Database
from .errors import AccountsError
from .passwords import Passwords, demand_good

_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f\ud800-\udfff]{1,64}@[^@\s\x00-\x1f\x7f\ud800-\udfff]{1,189}")
LONGEST_NAME = 200  # characters
ROLES = ("user", "admin")


class Status(StrEnum):
    """Of approval. An account that was judged never waits again; a judgement may be changed."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"


@dataclass(frozen=True)
class Account:
    """One account; moments in seconds since 1970."""

    id: str
    email: str
    name: str
    image: str | None
    email_verified: bool
    status: Status
    role: str
    max_streams: int | None  # at once
    audio_seconds: float | None  # in a calendar month
    created_at: float
    updated_at: float

    @property
    def admin(self) -> bool:
        return self.role == "admin" and self.status is Status.APPROVED


COLUMNS = [tables.accounts.c[field.name] for field in fields(Account)]


def account_of(row: Sequence[Any]) -> Account:
    """From a row of COLUMNS, perhaps with others behind."""
    values = dict(zip((field.name for field in fields(Account)), row))
    return Account(**{**values, "status": Status(values["status"])})


class People:
    """All accounts."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database, self._clock = database, clock
        self.passwords = Passwords()

    def create(
        self, email: str, password: str, name: str = "", status: Status = Status.PENDING, role: str = "user"
    ) -> Account:
        """A new account. Raises AccountsError: invalid_email, weak_password, invalid_name, email_taken."""
        row = self._new(email, password, name, status, role)
        try:
            with self._database.begin() as connection:
                connection.execute(tables.accounts.insert().values(row))
        except IntegrityError:
            raise AccountsError("email_taken", f"{row['email']} has an account already", 409) from None
        return self.find(row["id"])

    def sign_up(self, email: str, password: str, name: str = "", status: Status = Status.PENDING) -> Account:
        """As `create` for strangers: where there is an account already, the same work and an answer of the same look.

        What comes back in that case is nobody's. Only who knows the password learns which of the two it was.
        """
        row = self._new(email, password, name, status, "user")
        with self._database.begin() as connection:
            statement = self._database.upsert(tables.accounts).values(row).on_conflict_do_nothing()
            connection.execute(statement)
        return Account(**{field.name: row[field.name] for field in fields(Account)})

    def _new(self, email: str, password: str, name: str, status: Status, role: str) -> dict[str, Any]:
        email, now = plain_email(email), self._clock()
        demand_good(password, email)
        if role not in ROLES:
            raise AccountsError("invalid_role", f"a role is one of {', '.join(ROLES)}, got {role!r}")
        if len(name) > LONGEST_NAME or not name.isprintable():
            raise AccountsError("invalid_name", f"a name has at most {LONGEST_NAME} characters that can be printed")
        return {
            "id": secret.fresh_id(), "email": email, "name": name.strip() or email.partition("@")[0], "image": None,
            "email_verified": False, "password_hash": self.passwords.hash(password), "status": status, "role": role,
            "max_streams": None, "audio_seconds": None, "created_at": now, "updated_at": now,
        }  # fmt: skip

    def with_password(self, email: str, password: str) -> Account:
        """Raises AccountsError invalid_credentials: without an account as late as with a wrong password."""
        try:
            statement = select(*COLUMNS, tables.accounts.c.password_hash).where(
                tables.accounts.c.email == plain_email(email)
            )
            with self._database.begin() as connection:
                row = connection.execute(statement).one_or_none()
        except AccountsError:  # no address at all
            row = None
        if not self.passwords.right(row.password_hash if row else None, password) or row is None:
            raise AccountsError("invalid_credentials", "the e-mail address or the password is wrong", 401)
        if self.passwords.outdated(row.password_hash):
            self.set_password(row.id, password)
        return account_of(row)

    def change_password(self, account: Account, old: str, new: str) -> None:
        """Raises AccountsError invalid_credentials, weak_password."""
        self.with_password(account.email, old)
        demand_good(new, account.email)
        self.set_password(account.id, new)

    def set_password(self, id: str, password: str) -> None:
        """Whatever it is."""
        self._set(id, password_hash=self.passwords.hash(password))

    def judge(self, id: str, status: Status) -> Account:
        """Approves or rejects. Raises AccountsError not_found."""
        if status is Status.PENDING:
            raise AccountsError("invalid_status", "an account is approved or rejected; it cannot wait again")
        with self._database.begin() as connection:
            self._set_in(connection, id, status=status)
            if status is Status.REJECTED:
                connection.execute(tables.sessions.delete().where(tables.sessions.c.account_id == id))
        return self.find(id)

    def limit(self, id: str, max_streams: int | None, audio_seconds: float | None) -> Account:
        """Streams at once and seconds of audio in a month, of all keys together; None: no limit."""
        demand_limits(max_streams, audio_seconds)
        self._set(id, max_streams=max_streams, audio_seconds=audio_seconds)
        return self.find(id)

    def find(self, id_or_email: str) -> Account:
        """By its id or e-mail address. Raises AccountsError not_found."""
        table = tables.accounts.c
        with self._database.begin() as connection:
            wanted = (table.id == id_or_email) | (table.email == id_or_email.strip().lower())
            row = connection.execute(select(*COLUMNS).where(wanted)).one_or_none()
        if row is None:
            raise AccountsError("not_found", f"there is no account {id_or_email!r}", 404)
        return account_of(row)

    def all(self, status: Status | None = None) -> list[Account]:
        """The oldest first."""
        statement: Select[Any] = select(*COLUMNS).order_by(tables.accounts.c.created_at, tables.accounts.c.id)
        if status is not None:
            statement = statement.where(tables.accounts.c.status == status)
        with self._database.begin() as connection:
            return [account_of(row) for row in connection.execute(statement)]

    def _set(self, id: str, **values: Any) -> None:
        with self._database.begin() as connection:
            self._set_in(connection, id, **values)

    def _set_in(self, connection: Connection, id: str, **values: Any) -> None:
        changed = tables.accounts.update().where(tables.accounts.c.id == id)
        if not connection.execute(changed.values(**values, updated_at=self._clock())).rowcount:
            raise AccountsError("not_found", f"there is no account {id!r}", 404)


def plain_email(text: str) -> str:
    """In lower case. Raises AccountsError for what is none."""
    email = text.strip().lower()
    if not _EMAIL.fullmatch(email) or len(email) > 254:
        raise AccountsError("invalid_email", "an e-mail address looks like name@example.org")
    return email


def demand_limits(max_streams: int | None, audio_seconds: float | None) -> None:
    """Raises AccountsError invalid_limit."""
    if max_streams is not None and not 1 <= max_streams <= 1_000_000:
        raise AccountsError("invalid_limit", f"streams at once are 1 to 1000000, got {max_streams}")
    if audio_seconds is not None and not 0 <= audio_seconds <= 1e12:  # no comparison with NaN holds
        raise AccountsError("invalid_limit", f"seconds of audio are 0 to 1e12, got {audio_seconds:g}")
