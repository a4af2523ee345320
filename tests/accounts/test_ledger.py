"""The ledger and the meter: no quota is exceeded, whoever streams at the same time; nothing that was used is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vivavoce.accounts.accounts import Accounts
from vivavoce.accounts.ledger import GRANT_SECONDS, STALE_SECONDS, TRUST_SECONDS, Bill, Ledger
from vivavoce.accounts.meter import Meter, Tab
from vivavoce.accounts.passwords import Passwords
from vivavoce.accounts.people import Account, Status
from vivavoce.core import Fault, Refused

from .conftest import CHEAP, GOOD, NOON, Clock


@pytest.fixture
def ada(accounts: Accounts) -> Account:
    return accounts.people.create("ada@example.org", GOOD, status=Status.APPROVED)


def code(caught: pytest.ExceptionInfo[Refused]) -> tuple[Fault, str]:
    return caught.value.fault, caught.value.code


def seconds(accounts: Accounts) -> float:
    """All that was written down."""
    return sum(used.seconds for used in accounts.ledger.used())


def reserved(accounts: Accounts) -> list[float]:
    with accounts.database.begin() as connection:
        return list(connection.exec_driver_sql("SELECT reserved FROM open_streams ORDER BY id").scalars())


# --- the ledger ---


def test_streams_are_counted_by_day_account_and_key(accounts: Accounts, ada: Account, clock: Clock) -> None:
    key, text = accounts.keys.create(ada)
    session, _ = accounts.sessions.begin(ada, 10 * 86_400)
    first = accounts.ledger.open("a", "stt", text, None)
    accounts.ledger.open("b", "stt", None, session.id)
    accounts.ledger.settle([Bill("a", first, 1.5, 0)], [])
    clock.now += 86_400
    accounts.ledger.open("c", "tts", text, None)
    accounts.ledger.settle([Bill("a", first, 2.5, 0)], ["a"])
    told = [(used.day, used.key_id, used.streams, used.seconds) for used in accounts.ledger.used(ada.id)]
    assert told == [(20261129, "", 1, 0.0), (20261129, key.id, 1, 1.5), (20261130, key.id, 1, 2.5)]
    assert [used.day for used in accounts.ledger.used(key_id=key.id, since=20261130)] == [20261130]


@pytest.mark.parametrize("of_key", [True, False])
def test_streams_at_once_are_limited_and_come_free(accounts: Accounts, ada: Account, of_key: bool) -> None:
    _, text = accounts.keys.create(ada, max_streams=2 if of_key else None)
    _, other = accounts.keys.create(ada)
    if not of_key:
        accounts.people.limit(ada.id, 2, None)
    holder = accounts.ledger.open("a", "stt", text, None)
    accounts.ledger.open("b", "stt", text, None)
    for key in [text] if of_key else [text, other]:
        with pytest.raises(Refused) as caught:
            accounts.ledger.open("c", "stt", key, None)
        assert code(caught) == (Fault.RATE_LIMITED, "too_many_streams")
    accounts.ledger.settle([Bill("a", holder, 0, 0)], ["a"])
    accounts.ledger.open("c", "stt", text, None)
    assert sum(used.streams for used in accounts.ledger.used()) == 3  # who was refused does not count


def test_a_stream_of_a_server_that_died_is_forgotten(accounts: Accounts, ada: Account, clock: Clock) -> None:
    _, text = accounts.keys.create(ada, max_streams=1, audio_seconds=GRANT_SECONDS)
    dead = accounts.ledger.open("dead", "stt", text, None)
    assert accounts.ledger.grant(Bill("dead", dead, 0, 0), 1) == GRANT_SECONDS
    clock.now += STALE_SECONDS
    with pytest.raises(Refused):
        accounts.ledger.open("a", "stt", text, None)
    clock.now += 1
    accounts.ledger.open("a", "stt", text, None)
    assert reserved(accounts) == [0]


@pytest.mark.parametrize("of_key", [True, False])
def test_a_quota_is_the_calendar_months(accounts: Accounts, ada: Account, clock: Clock, of_key: bool) -> None:
    _, text = accounts.keys.create(ada, audio_seconds=40 if of_key else None)
    if not of_key:
        accounts.people.limit(ada.id, None, 40)
    holder = accounts.ledger.open("a", "stt", text, None)
    assert accounts.ledger.grant(Bill("a", holder, 0, 0), 1) == 30
    assert accounts.ledger.grant(Bill("a", holder, 25, 5), 10) == 15  # 25 used, 5 kept, the 10 that are left
    assert accounts.ledger.grant(Bill("a", holder, 15, 0), 1) == 0
    with pytest.raises(Refused) as caught:
        accounts.ledger.open("b", "stt", text, None)
    assert code(caught) == (Fault.QUOTA_EXCEEDED, "quota_exceeded")
    assert "2026-12-01" in str(caught.value)
    assert caught.value.retry_after == 36 * 3600
    clock.now += 36 * 3600
    accounts.ledger.open("b", "stt", text, None)


def test_over_a_new_year_too(accounts: Accounts, ada: Account, clock: Clock) -> None:
    clock.now += 33 * 86_400  # the first of January
    _, text = accounts.keys.create(ada, audio_seconds=0)
    with pytest.raises(Refused, match="2027-02-01"):
        accounts.ledger.open("a", "stt", text, None)


def test_whoever_asks_at_once_never_gets_more_than_there_is(accounts: Accounts, ada: Account) -> None:
    _, text = accounts.keys.create(ada, max_streams=6, audio_seconds=200)
    got: list[float] = []
    opened: list[str] = []
    all_have_asked = threading.Barrier(10)

    def stream(name: str) -> None:
        ledger = Ledger(accounts.database, accounts.clock, name)
        try:
            holder = ledger.open(name, "stt", text, None)
            opened.append(name)
        except Refused:
            return
        finally:
            all_have_asked.wait()
        used = kept = 0.0
        while (now := ledger.grant(Bill(name, holder, used, kept), 7)) >= 7:
            got.append(now)
            used, kept = now, 0.0
        got.append(now)  # what was left over; it is spent to the last
        ledger.settle([Bill(name, holder, now, 0)], [name])

    threads = [threading.Thread(target=stream, args=(f"s{number}",)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 6
    assert sum(got) == pytest.approx(200)
    assert seconds(accounts) == pytest.approx(200)
    assert reserved(accounts) == []


def test_a_server_is_told_whose_streams_may_not_go_on(accounts: Accounts, ada: Account, clock: Clock) -> None:
    (one, first), (_, second), (_, third) = (accounts.keys.create(ada, seconds=s) for s in (None, 50, None))
    eve = accounts.people.create("eve@example.org", GOOD, status=Status.APPROVED)
    _, fourth = accounts.keys.create(eve)
    bills = [
        Bill(text, accounts.ledger.open(text[3:19], "stt", text, None), 1, 0) for text in (first, second, third, fourth)
    ]
    bills = [Bill(bill.stream[3:19], bill.holder, 1, 0) for bill in bills]
    accounts.keys.revoke(one.id)
    accounts.people.judge(eve.id, Status.REJECTED)
    clock.now += 55
    verdicts = accounts.ledger.settle(bills, [])
    assert verdicts.lost == set()
    whys = [why.code if (why := verdicts.known[bill.stream]) else None for bill in bills]
    assert whys == ["revoked_key", "expired_key", None, "account_rejected"]
    assert seconds(accounts) == 4


def test_an_account_that_was_deleted_stops_nobody_else(accounts: Accounts, ada: Account) -> None:
    eve = accounts.people.create("eve@example.org", GOOD, status=Status.APPROVED)
    bills = []
    for account in (ada, eve):
        _, text = accounts.keys.create(account)
        bills.append(Bill(account.id, accounts.ledger.open(account.id, "stt", text, None), 3, 0))
    with accounts.database.begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM accounts WHERE id = '{eve.id}'")
    verdicts = accounts.ledger.settle(bills, [])
    assert verdicts.known[ada.id] is None
    assert (gone := verdicts.known[eve.id]) and gone.code == "invalid_key"
    assert seconds(accounts) == 3


# --- the meter ---


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


async def begun(meter: Meter, key: str) -> Tab:
    tab = await meter.open("stt", key, None)
    tab.begin()
    return tab


def test_a_stream_without_a_quota_asks_once(accounts: Accounts, ada: Account) -> None:
    _, text = accounts.keys.create(ada)

    async def stream() -> None:
        meter = Meter(accounts.ledger, accounts.clock)
        tab = await begun(meter, text)
        accounts.database.close()
        accounts.ledger._database = None  # type: ignore[assignment]  # whoever asks it now fails
        for _ in range(1000):
            await tab.pay(0.08)
        assert tab.unsettled == pytest.approx(80)

    run(stream())


def test_a_stream_with_a_quota_is_told_when_it_is_used_up(accounts: Accounts, ada: Account) -> None:
    _, text = accounts.keys.create(ada, audio_seconds=100)

    async def stream() -> None:
        meter = Meter(accounts.ledger, accounts.clock)
        tab = await begun(meter, text)
        for _ in range(12):
            await tab.pay(8)
        with pytest.raises(Refused) as caught:
            await tab.pay(8)
        assert code(caught) == (Fault.QUOTA_EXCEEDED, "quota_exceeded")
        await tab.pay(4)
        tab.end()
        await meter.settle()

    run(stream())
    assert seconds(accounts) == pytest.approx(100)
    assert reserved(accounts) == []


def test_what_an_ended_stream_had_reserved_is_the_next_ones(accounts: Accounts, ada: Account) -> None:
    _, text = accounts.keys.create(ada, max_streams=1, audio_seconds=31)

    async def streams() -> None:
        meter = Meter(accounts.ledger, accounts.clock)
        for _ in range(31):
            tab = await begun(meter, text)  # the place, too, is free at once
            await tab.pay(1)
            tab.end()
        with pytest.raises(Refused):
            await begun(meter, text)

    run(streams())
    assert seconds(accounts) == pytest.approx(31)


def test_one_that_was_admitted_and_never_began_is_forgotten(accounts: Accounts, ada: Account, clock: Clock) -> None:
    _, text = accounts.keys.create(ada, max_streams=1)

    async def streams() -> None:
        meter = Meter(accounts.ledger, accounts.clock)
        await meter.open("stt", text, None)
        clock.now += STALE_SECONDS + 1
        await meter.settle()
        await begun(meter, text)

    run(streams())


def test_a_database_that_is_away_refuses_newcomers_and_costs_no_accounting(accounts: Accounts, ada: Account) -> None:
    _, text = accounts.keys.create(ada)

    async def streams() -> None:
        meter = Meter(accounts.ledger, accounts.clock)
        tab = await begun(meter, text)
        await tab.pay(5)
        there = accounts.ledger._database
        accounts.ledger._database = Away()  # type: ignore[assignment]
        with pytest.raises(Refused) as caught:
            await meter.open("stt", text, None)
        assert code(caught) == (Fault.UNAVAILABLE, "accounts_unavailable")
        with pytest.raises(Refused):
            await meter.settle()
        await tab.pay(5)
        tab.end()
        with pytest.raises(Refused):
            await meter.settle()
        accounts.ledger._database = there
        await meter.settle()

    run(streams())
    assert seconds(accounts) == 10
    assert reserved(accounts) == []


class Away:
    """A database that cannot be reached: a real one at a port where nobody listens."""

    def begin(self) -> Any:
        from vivavoce.accounts.database import Database

        return Database("postgresql://nobody@127.0.0.1:1/nothing").begin()


def test_a_portion_is_not_spent_long_after_the_ledger_was_last_heard_of(
    accounts: Accounts, ada: Account, clock: Clock
) -> None:
    """By then its server may count as dead, and the portion as others'."""
    _, text = accounts.keys.create(ada, audio_seconds=GRANT_SECONDS)

    async def streams() -> None:
        late, other = Meter(accounts.ledger, accounts.clock), Meter(Ledger(accounts.database, clock, "2"), clock)
        tab = await begun(late, text)
        await tab.pay(1)
        clock.now += STALE_SECONDS + 1
        rest = await begun(other, text)
        await rest.pay(GRANT_SECONDS)
        with pytest.raises(Refused):
            await tab.pay(1)

    assert TRUST_SECONDS < STALE_SECONDS
    run(streams())


def test_a_server_that_dies_loses_only_what_was_not_settled(accounts: Accounts, ada: Account, clock: Clock) -> None:
    _, text = accounts.keys.create(ada)

    async def streams() -> None:
        meter = Meter(accounts.ledger, accounts.clock)
        tab = await begun(meter, text)
        await tab.pay(100)
        await meter.settle()
        await tab.pay(5)  # and then it is killed

    run(streams())
    assert seconds(accounts) == 100


def test_a_caller_that_goes_while_the_ledger_is_asked_leaves_nothing_open_and_pays_once(
    accounts: Accounts, ada: Account
) -> None:
    _, text = accounts.keys.create(ada, audio_seconds=100)

    async def streams() -> None:
        meter = Meter(accounts.ledger, accounts.clock)
        opening = asyncio.create_task(meter.open("stt", text, None))
        await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait({opening})
        assert opening.cancelled()
        tab = await begun(meter, text)
        await tab.pay(30)
        paying = asyncio.create_task(tab.pay(1))
        await asyncio.sleep(0)
        paying.cancel()
        await asyncio.wait({paying})
        assert paying.cancelled()
        tab.end()
        while meter._under_way:
            await asyncio.sleep(0.01)
        await meter.settle()

    run(streams())
    assert seconds(accounts) == 30
    assert reserved(accounts) == []


def test_while_a_meter_runs_it_settles_by_itself_and_when_it_ends(accounts: Accounts, ada: Account) -> None:
    _, text = accounts.keys.create(ada)

    async def streams() -> None:
        meter = Meter(accounts.ledger, accounts.clock, settle_seconds=0.01)
        running = asyncio.create_task(meter.run())
        tab, other = await begun(meter, text), await begun(meter, text)
        await tab.pay(5)
        while seconds(accounts) < 5:
            await asyncio.sleep(0.01)
        await other.pay(7)
        tab.end()
        other.end()
        meter.stop()
        await running

    run(streams())
    assert seconds(accounts) == 12
    assert reserved(accounts) == []


# --- the law ---


@dataclass
class Step:
    """Something that happens to a world of two servers and a few streams."""

    what: str
    server: int
    stream: int
    amount: float


STEPS = st.builds(
    Step,
    st.sampled_from(["open", "pay", "pay", "pay", "pay", "end", "settle", "wait", "kill"]),
    st.integers(0, 1),
    st.integers(0, 2),
    st.sampled_from([0.08, 1.0, 9.5, 40.0]),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Accounts, Clock]]:
    clock = Clock(NOON - 28 * 86_400)
    folder: Path = tmp_path_factory.mktemp("world")
    with closing(Accounts(f"sqlite:///{folder}/accounts.db", clock)) as accounts:
        accounts.people.passwords = Passwords(CHEAP)
        accounts.database.migrate()
        yield accounts, clock


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, max_size=40), quota=st.sampled_from([0.0, 50.0, 100.0]), most=st.integers(1, 4))
def test_no_quota_is_exceeded_and_no_second_is_lost(
    world: tuple[Accounts, Clock], steps: list[Step], quota: float, most: int
) -> None:
    """Whatever two servers do, in whatever order, killed ones included."""
    accounts, clock = world
    accounts.people.limit(_account(accounts).id, None, None)
    key, text = accounts.keys.create(_account(accounts), max_streams=most, audio_seconds=quota)
    heard = 0.0  # by all streams
    lost = 0.0  # at most, with the servers that were killed

    async def live() -> None:
        nonlocal heard, lost
        servers = [Server(accounts, clock) for _ in range(2)]
        for step in steps:
            server = servers[step.server]
            tab = server.tabs.get(step.stream)
            match step.what:
                case "open" if tab is None:
                    if opened := await server.open(text):
                        server.tabs[step.stream] = opened
                case "pay" if tab:
                    if await paid(tab, step.amount):
                        heard += step.amount
                        server.unsettled += step.amount
                case "end" if tab:
                    server.tabs.pop(step.stream).end()
                case "settle":
                    await server.meter.settle()
                    server.unsettled = 0.0
                case "wait":
                    clock.now += step.amount
                case "kill":
                    lost += server.unsettled
                    servers[step.server] = Server(accounts, clock)
            alive = sum(len(server.tabs) for server in servers)
            assert heard <= quota + 1e-6
            assert alive <= most or any(clock.now - server.born >= STALE_SECONDS for server in servers)
        for server in servers:
            await server.meter.settle()

    asyncio.run(live())
    written = sum(used.seconds for used in accounts.ledger.used(key_id=key.id))
    assert heard - lost - 1e-6 <= written <= heard + 1e-6
    accounts.keys.revoke(key.id)
    clock.now = NOON - 28 * 86_400  # one month for all examples


class Server:
    """A process: a meter of its own over a ledger of its own name."""

    def __init__(self, accounts: Accounts, clock: Clock) -> None:
        self.meter = Meter(Ledger(accounts.database, clock, f"{id(self)}"), clock)
        self.tabs: dict[int, Tab] = {}
        self.unsettled = 0.0
        self.born = clock.now

    async def open(self, text: str) -> Tab | None:
        try:
            return await begun(self.meter, text)
        except Refused:
            return None


async def paid(tab: Tab, amount: float) -> bool:
    try:
        await tab.pay(amount)
    except Refused:
        return False
    return True


def _account(accounts: Accounts) -> Account:
    found = accounts.people.all()
    return found[0] if found else accounts.people.create("ada@example.org", GOOD, status=Status.APPROVED)
