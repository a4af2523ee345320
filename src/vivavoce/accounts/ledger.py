"""The ledger: which streams are open, what they may still hear, and what was used, by account, key and day.

A stream whose key or account has a quota of audio takes it from there in portions, before it hears or speaks them; so
streams that run at the same time, on any number of servers, never use more than there is. What a stream has used is
written down every SETTLE_SECONDS. A server that dies leaves its streams behind: they are forgotten after STALE_SECONDS,
and with them what they had reserved and not used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select

from vivavoce.core import Fault, Refused

from . import tables
from .database import Database
from .keys import COLUMNS as KEY_COLUMNS
from .keys import Key, key_of, parted, proven
from .people import COLUMNS as ACCOUNT_COLUMNS
from .people import Account, Status, account_of

GRANT_SECONDS = 30.0  # of audio, that a stream with a quota reserves at a time
SETTLE_SECONDS = 5.0
STALE_SECONDS = 60.0
TRUST_SECONDS = 45.0  # after the ledger was last heard of, in which a portion may be spent; less than STALE_SECONDS
_RETRY_SECONDS = 5.0  # when a place may be free again


@dataclass(frozen=True)
class Holder:
    """Who has a stream open: an account, by one of its keys or (key None) by a token."""

    account: Account
    key: Key | None

    @property
    def name(self) -> str:
        """For the log: no secret."""
        return f"key {self.key.id}" if self.key else f"account {self.account.id}"

    @property
    def place(self) -> tuple[str, str]:
        """Where its use is counted: account and key."""
        return self.account.id, self.key.id if self.key else ""

    @property
    def has_quota(self) -> bool:
        return any(seconds is not None for seconds in self._of("audio_seconds"))

    def _of(self, name: str) -> list[Any]:
        return [getattr(part, name) for part in (self.account, self.key) if part]


@dataclass(frozen=True)
class Used:
    """What a key (or an account by token: key_id empty) has used on a day, such as 20261129 (UTC)."""

    account_id: str
    key_id: str
    day: int
    streams: int
    seconds: float  # of audio


@dataclass(frozen=True)
class Bill:
    """What a stream has used since the last one, and has reserved and not used; seconds of audio."""

    stream: str
    holder: Holder
    used: float
    reserved: float


@dataclass(frozen=True)
class Verdicts:
    """Of a server's streams: why one may not go on, if so; those that were thought lost, and have nothing reserved."""

    known: dict[str, Refused | None]
    lost: set[str] = field(default_factory=set)


class Ledger:
    """Admits streams and counts what they use. `server` is this process's name among those of the database."""

    def __init__(self, database: Database, clock: Callable[[], float], server: str) -> None:
        self._database, self._clock, self._server = database, clock, server

    # --- who it is ---

    def who(self, scope: str | None, key: str | None, session: str | None) -> Holder:
        """Whose key it is, or else session (the id of one: of a token).

        Raises Refused: invalid_key, revoked_key, expired_key, out_of_scope, revoked_token, pending_approval,
        account_rejected.
        """
        with self._database.begin() as connection:
            return self._who(connection, scope, key, session)

    def _who(self, connection: Connection, scope: str | None, key: str | None, session: str | None) -> Holder:
        if key is not None:
            return self._by_key(connection, key, scope)
        assert session is not None
        return self._by_session(connection, session)

    def _by_key(self, connection: Connection, text: str, scope: str | None) -> Holder:
        name, secret = parted(text) or ("", "")
        statement = select(*ACCOUNT_COLUMNS, *KEY_COLUMNS, tables.api_keys.c.secret_hash).join(
            tables.api_keys, tables.api_keys.c.account_id == tables.accounts.c.id
        )
        row = connection.execute(statement.where(tables.api_keys.c.id == name)).one_or_none()
        if not proven(row.secret_hash if row else None, secret) or row is None:
            raise Refused(Fault.UNAUTHENTICATED, "invalid_key", "the key is not one of this server's")
        holder = _holder(row)
        assert holder.key is not None
        demand_alive(holder, self._clock())
        if scope is not None and scope not in holder.key.scopes:
            detail = f"the key may not do this: {scope} is not among its scopes ({', '.join(holder.key.scopes)})"
            raise Refused(Fault.FORBIDDEN, "out_of_scope", detail, f"make a key with the scope {scope}")
        return holder

    def _by_session(self, connection: Connection, id: str) -> Holder:
        statement = select(*ACCOUNT_COLUMNS, tables.sessions.c.expires_at).join(
            tables.sessions, tables.sessions.c.account_id == tables.accounts.c.id
        )
        row = connection.execute(statement.where(tables.sessions.c.id == id)).one_or_none()
        if row is None or row.expires_at <= self._clock():
            detail = "the token's session has ended"
            raise Refused(Fault.UNAUTHENTICATED, "revoked_token", detail, "sign in again")
        holder = Holder(account_of(row), None)
        demand_alive(holder, self._clock())
        return holder

    # --- streams ---

    def open(self, stream: str, scope: str | None, key: str | None, session: str | None) -> Holder:
        """Counts a new stream. Raises Refused as `who`, too_many_streams and quota_exceeded."""
        with self._database.begin() as connection:
            holder = self._who(connection, scope, key, session)
            self._lock(connection, holder)
            self._add(connection, {holder.place: (1, 0.0)})
            self._forget_lost(connection, holder)
            for name, wanted, most in _each(holder, "max_streams"):
                count = select(func.count()).select_from(tables.open_streams).where(*wanted(tables.open_streams))
                if connection.execute(count).scalar_one() >= most:
                    detail = f"{most} streams are open with this {name}; that is the limit"
                    raise Refused(Fault.RATE_LIMITED, "too_many_streams", detail, "close one", _RETRY_SECONDS)
            if self._left(connection, holder) <= 0:
                raise self.exceeded(holder)
            self._enter(connection, stream, holder)
        return holder

    def grant(self, bill: Bill, wanted: float) -> float:
        """Writes the bill down and reserves more, `wanted` seconds at least; what the stream has reserved now.

        Less than `wanted` where so much is not left. Raises Refused as `who` where that has changed; nothing is
        written then.
        """
        table = tables.open_streams
        with self._database.begin() as connection:
            holder = self._lock(connection, bill.holder)
            self._add(connection, {holder.place: (0, bill.used)})
            self._forget_lost(connection, holder)
            kept = bill.reserved
            mine = table.update().where(table.c.id == bill.stream)
            if not connection.execute(mine.values(reserved=kept, seen_at=self._clock())).rowcount:
                kept = 0.0  # it was thought lost, and others may have what it had
                self._enter(connection, bill.stream, holder)
            left = self._left(connection, holder)
            if kept + left >= wanted:
                kept += min(max(GRANT_SECONDS, wanted - kept), left)
                connection.execute(mine.values(reserved=kept))
            return kept

    def settle(self, bills: Iterable[Bill], closed: Collection[str]) -> Verdicts:
        """Writes down what this server's streams have used, that the `closed` ones have ended and the others live."""
        bills = sorted(bills, key=lambda bill: bill.stream)
        table, now = tables.open_streams, self._clock()
        mine = table.c.server == self._server
        with self._database.begin() as connection:
            exist = self._existing(connection, {bill.holder.account.id for bill in bills})
            self._add(connection, _sums(bill for bill in bills if bill.holder.account.id in exist))
            if quotas := [{"stream": bill.stream, "kept": bill.reserved} for bill in bills if bill.holder.has_quota]:
                update = table.update().where(table.c.id == bindparam("stream"))
                connection.execute(update.values(reserved=bindparam("kept")), quotas)
            if closed:
                connection.execute(table.delete().where(mine, table.c.id.in_(closed)))
            told = [bill.stream for bill in bills]  # not one that was admitted and has never begun
            connection.execute(table.update().where(table.c.id.in_(told)).values(seen_at=now))
            verdicts = Verdicts({row.stream: _refusal(_holder(row), now) for row in self._mine(connection)})
            for bill in bills:
                if bill.stream in verdicts.known or bill.stream in closed:
                    continue
                if bill.holder.account.id in exist:
                    self._enter(connection, bill.stream, bill.holder)
                    verdicts.lost.add(bill.stream)
                else:
                    verdicts.known[bill.stream] = _gone()
        return verdicts

    # --- what was used ---

    def used(self, account_id: str | None = None, key_id: str | None = None, since: int = 0) -> list[Used]:
        """By day, from that day on (20261101)."""
        columns = tables.usage.c
        statement = select(*(columns[field.name] for field in fields(Used))).where(columns.day >= since)
        if account_id is not None:
            statement = statement.where(columns.account_id == account_id)
        if key_id is not None:
            statement = statement.where(columns.key_id == key_id)
        with self._database.begin() as connection:
            rows = connection.execute(statement.order_by(columns.day, columns.account_id, columns.key_id))
            return [Used(*row) for row in rows]

    def month(self) -> int:
        """The first day of this month, such as 20261101: from when quotas are counted."""
        return self._day() // 100 * 100 + 1

    # --- in a transaction; always in the order account, usage, streams ---

    def _lock(self, connection: Connection, holder: Holder) -> Holder:
        """Alone with the account: nobody else opens, or reserves, on it meanwhile. Raises Refused if it may not now."""
        statement = select(*ACCOUNT_COLUMNS).where(tables.accounts.c.id == holder.account.id)
        row = connection.execute(statement.with_for_update(key_share=True)).one_or_none()
        key = None
        if holder.key:
            key = connection.execute(select(*KEY_COLUMNS).where(tables.api_keys.c.id == holder.key.id)).one_or_none()
        if row is None or (holder.key and key is None):
            raise _gone()
        current = Holder(account_of(row), key_of(key) if key else None)
        demand_alive(current, self._clock())
        return current

    def _left(self, connection: Connection, holder: Holder) -> float:
        """Seconds of audio that neither were used nor are reserved; in one statement, so that none is missed."""
        left = float("inf")
        for _, wanted, most in _each(holder, "audio_seconds"):
            usage, streams = tables.usage, tables.open_streams
            this_month = select(func.coalesce(func.sum(usage.c.seconds), 0.0)).where(
                *wanted(usage), usage.c.day >= self.month()
            )
            reserved = select(func.coalesce(func.sum(streams.c.reserved), 0.0)).where(*wanted(streams))
            taken = connection.execute(select(this_month.scalar_subquery() + reserved.scalar_subquery())).scalar_one()
            left = min(left, most - taken)
        return left

    def _add(self, connection: Connection, sums: dict[tuple[str, str], tuple[int, float]]) -> None:
        table, day = tables.usage, self._day()
        rows = [
            {"account_id": account, "key_id": key, "day": day, "streams": streams, "seconds": seconds}
            for (account, key), (streams, seconds) in sorted(sums.items())
            if streams or seconds
        ]
        if rows:
            insert = self._database.upsert(table)
            added = {name: table.c[name] + insert.excluded[name] for name in ("streams", "seconds")}
            connection.execute(insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=added), rows)

    def _forget_lost(self, connection: Connection, holder: Holder) -> None:
        table = tables.open_streams
        lost = table.c.seen_at < self._clock() - STALE_SECONDS
        connection.execute(table.delete().where(table.c.account_id == holder.account.id, lost))

    def _enter(self, connection: Connection, stream: str, holder: Holder) -> None:
        account, key = holder.place
        row = {"id": stream, "account_id": account, "key_id": key, "server": self._server, "reserved": 0.0}
        connection.execute(tables.open_streams.insert().values(**row, seen_at=self._clock()))

    def _mine(self, connection: Connection) -> Iterable[Row[Any]]:
        streams = tables.open_streams
        return connection.execute(
            select(*ACCOUNT_COLUMNS, *KEY_COLUMNS, streams.c.id.label("stream"))
            .join(streams, streams.c.account_id == tables.accounts.c.id)
            .outerjoin(tables.api_keys, tables.api_keys.c.id == streams.c.key_id)
            .where(streams.c.server == self._server)
        )

    def _existing(self, connection: Connection, ids: Collection[str]) -> set[str]:
        return set(connection.execute(select(tables.accounts.c.id).where(tables.accounts.c.id.in_(ids))).scalars())

    def _day(self) -> int:
        return int(datetime.fromtimestamp(self._clock(), UTC).strftime("%Y%m%d"))

    def exceeded(self, holder: Holder) -> Refused:
        """The refusal where nothing is left, with the time until the next month."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        again = (now.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(day=1)
        whose = "key" if holder.key else "account"
        detail = f"the month's audio of this {whose} is used up; there is more on {again:%Y-%m-%d} (UTC)"
        hint = "ask the administrator of this server for more"
        return Refused(Fault.QUOTA_EXCEEDED, "quota_exceeded", detail, hint, (again - now).total_seconds())


def demand_alive(holder: Holder, now: float) -> None:
    """Raises Refused for a key or an account that may not use the server (any more)."""
    key, status = holder.key, holder.account.status
    if key and key.revoked_at is not None:
        raise Refused(Fault.UNAUTHENTICATED, "revoked_key", "the key was revoked", "make another one")
    if key and key.expires_at is not None and key.expires_at <= now:
        raise Refused(Fault.UNAUTHENTICATED, "expired_key", "the key has expired", "make another one")
    if status is Status.PENDING:
        hint = "ask the administrator of this server"
        raise Refused(Fault.FORBIDDEN, "pending_approval", "the account waits for approval", hint)
    if status is Status.REJECTED:
        raise Refused(Fault.FORBIDDEN, "account_rejected", "the account may not use this server")


def _gone() -> Refused:
    return Refused(Fault.UNAUTHENTICATED, "invalid_key", "the account or the key does not exist any more")


def _sums(bills: Iterable[Bill]) -> dict[tuple[str, str], tuple[int, float]]:
    sums: dict[tuple[str, str], float] = defaultdict(float)
    for bill in bills:
        sums[bill.holder.place] += bill.used
    return {place: (0, seconds) for place, seconds in sums.items()}


def _refusal(holder: Holder, now: float) -> Refused | None:
    try:
        demand_alive(holder, now)
    except Refused as error:
        return error
    return None


def _holder(row: Sequence[Any]) -> Holder:
    """From a row of ACCOUNT_COLUMNS and KEY_COLUMNS; the latter are empty where it is no key."""
    account, rest = account_of(row), row[len(ACCOUNT_COLUMNS) :]
    return Holder(account, key_of(rest) if rest[0] is not None else None)


def _each(holder: Holder, limit: str) -> Iterable[tuple[str, Callable[[Any], list[Any]], Any]]:
    """What is limited (account, key), which rows of a table are its, and the limit."""
    if (most := getattr(holder.account, limit)) is not None:
        yield "account", lambda table: [table.c.account_id == holder.account.id], most
    if holder.key and (most := getattr(holder.key, limit)) is not None:
        key = holder.key.id
        yield "key", lambda table: [table.c.account_id == holder.account.id, table.c.key_id == key], most
