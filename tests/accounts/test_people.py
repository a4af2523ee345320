"""Accounts: who may have one, what a password must be, and how approval goes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from vivavoce.accounts.accounts import Accounts
from vivavoce.accounts.errors import AccountsError
from vivavoce.accounts.passwords import NOBODYS, Passwords
from vivavoce.accounts.people import Status
from vivavoce.core import Refused

from .conftest import CHEAP, GOOD, NOON


def refused(call: object, *arguments: object, **options: object) -> AccountsError:
    with pytest.raises(AccountsError) as caught:
        call(*arguments, **options)  # type: ignore[operator]
    return caught.value


def test_an_account_is_found_by_its_address_in_any_case_and_by_its_id(accounts: Accounts) -> None:
    made = accounts.people.create(" Ada@Example.ORG ", GOOD, "Ada Lovelace")
    assert (made.email, made.name, made.status, made.role) == (
        "ada@example.org",
        "Ada Lovelace",
        Status.PENDING,
        "user",
    )
    assert accounts.people.find("ADA@example.org") == accounts.people.find(made.id) == made
    assert refused(accounts.people.find, "nobody@example.org").status == 404


def test_an_address_has_one_account(accounts: Accounts) -> None:
    accounts.people.create("ada@example.org", GOOD)
    assert refused(accounts.people.create, "Ada@example.org", GOOD).code == "email_taken"
    assert len(accounts.people.all()) == 1


@pytest.mark.parametrize(
    "email", ["", "ada", "@", "a@", "@b", "a b@c", "a@b@c", "a\nb@c", "a\x00@b", "a" * 65 + "@b", "a@" + "b" * 253]
)
def test_what_is_no_address_is_refused(accounts: Accounts, email: str) -> None:
    assert refused(accounts.people.create, email, GOOD).code == "invalid_email"


@pytest.mark.parametrize(
    "password", ["", "short", "elevenchars", "x" * 129, "aaaaaaaaaaaaaaa", "ababababab ababab", "ada@example.org"]
)
def test_a_password_that_is_guessed_too_soon_is_refused_and_not_quoted(accounts: Accounts, password: str) -> None:
    error = refused(accounts.people.create, "ada@example.org", password)
    assert error.code == "weak_password"
    assert not password or password not in str(error)


@pytest.mark.parametrize(
    "password",
    ["x1x2x3x4x5x6", "пароль из слов", "🐟🐠🐡🦈🐙🦑🦐🦞🦀🐚🐬🐳", "\ud800 half a surrogate pair", "a" * 124 + "bcde"],
)
def test_any_characters_will_do(accounts: Accounts, password: str) -> None:
    accounts.people.create("ada@example.org", password)
    assert accounts.people.with_password("ada@example.org", password).email == "ada@example.org"
    assert refused(accounts.people.with_password, "ada@example.org", password[:-1]).code == "invalid_credentials"


def test_the_database_has_no_password(accounts: Accounts) -> None:
    accounts.people.passwords = Passwords()
    accounts.people.create("ada@example.org", GOOD)
    with accounts.database.begin() as connection:
        kept = connection.exec_driver_sql("SELECT password_hash FROM accounts").scalar_one()
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,")
    assert GOOD not in kept


def test_sign_up_answers_alike_whether_there_is_an_account_or_not(accounts: Accounts) -> None:
    first = accounts.people.sign_up("ada@example.org", GOOD, "Ada")
    second = accounts.people.sign_up("ada@example.org", "another good password", "Eve")
    assert {**vars(second), "id": 0, "name": 0} == {**vars(first), "id": 0, "name": 0}
    assert second.id != first.id
    assert [(one.id, one.name) for one in accounts.people.all()] == [(first.id, "Ada")]
    assert accounts.people.with_password("ada@example.org", GOOD).id == first.id
    assert refused(accounts.people.with_password, "ada@example.org", "another good password")


class Counting(Passwords):
    """Knows how often it had to work."""

    work = 0

    def right(self, kept: str | None, given: str) -> bool:
        self.work += 1
        return super().right(kept, given)


@pytest.mark.parametrize("email", ["ada@example.org", "nobody@example.org", "no address"])
def test_a_wrong_password_costs_the_same_work_and_answer_with_and_without_an_account(
    accounts: Accounts, email: str
) -> None:
    accounts.people.create("ada@example.org", GOOD)
    accounts.people.passwords = counting = Counting()
    error = refused(accounts.people.with_password, email, "not the password")
    assert (error.code, error.status, str(error)) == (
        "invalid_credentials", 401, "the e-mail address or the password is wrong",
    )  # fmt: skip
    assert counting.work == 1


def test_nobodys_password_is_hashed_with_the_effort_of_everybodys() -> None:
    assert not Passwords().outdated(NOBODYS)
    assert not Passwords().right(None, "whatever it is")


def test_a_password_that_was_hashed_with_less_effort_is_hashed_anew(accounts: Accounts) -> None:
    accounts.people.create("ada@example.org", GOOD)
    accounts.people.passwords = Passwords()
    accounts.people.with_password("ada@example.org", GOOD)
    with accounts.database.begin() as connection:
        kept = connection.exec_driver_sql("SELECT password_hash FROM accounts").scalar_one()
    assert not accounts.people.passwords.outdated(kept)


def test_a_password_is_changed_by_who_knows_it(accounts: Accounts) -> None:
    account = accounts.people.create("ada@example.org", GOOD)
    assert refused(accounts.people.change_password, account, "wrong", "a newer password").code == "invalid_credentials"
    assert refused(accounts.people.change_password, account, GOOD, "short").code == "weak_password"
    accounts.people.change_password(account, GOOD, "a newer password")
    assert accounts.people.with_password("ada@example.org", "a newer password")
    assert refused(accounts.people.with_password, "ada@example.org", GOOD)


@pytest.mark.parametrize(
    ("streams", "audio"), [(0, None), (-1, None), (None, -1.0), (None, float("nan")), (None, float("inf"))]
)
def test_a_limit_that_cannot_be_is_refused(accounts: Accounts, streams: int | None, audio: float | None) -> None:
    account = accounts.people.create("ada@example.org", GOOD)
    assert refused(accounts.people.limit, account.id, streams, audio).code == "invalid_limit"


class Approval(RuleBasedStateMachine):
    """Whatever is done to an account, in whatever order: only a judgement changes its state, never back to pending,
    and what it may do follows from the state alone."""

    accounts: Accounts  # of the test, for all runs

    @initialize(approval=st.booleans())
    def sign_up(self, approval: bool) -> None:
        self.email = f"{uuid.uuid4().hex}@example.org"
        self.state = Status.PENDING if approval else Status.APPROVED
        status = self.state
        self.account = self.accounts.people.sign_up(self.email, GOOD, status=status)
        self.keys: list[str] = []
        self.sessions: list[str] = []

    @rule(status=st.sampled_from([Status.APPROVED, Status.REJECTED]))
    def judge(self, status: Status) -> None:
        assert self.accounts.people.judge(self.account.id, status).status is status
        self.state = status
        if status is Status.REJECTED:
            self.sessions.clear()

    @rule()
    def make_it_wait(self) -> None:
        assert refused(self.accounts.people.judge, self.account.id, Status.PENDING).code == "invalid_status"

    @rule()
    def sign_up_again(self) -> None:
        self.accounts.people.sign_up(self.email, GOOD, status=Status.APPROVED)

    @rule()
    def sign_in(self) -> None:
        account = self.accounts.people.with_password(self.email, GOOD)
        if self.state is Status.REJECTED:
            assert refused(self.accounts.sessions.begin, account, 60).code == "account_rejected"
        else:
            self.sessions.append(self.accounts.sessions.begin(account, 60)[1])

    @rule()
    def make_a_key(self) -> None:
        account = self.accounts.people.find(self.account.id)
        if self.state is Status.APPROVED:
            self.keys.append(self.accounts.keys.create(account)[1])
        else:
            assert refused(self.accounts.keys.create, account).code == "not_approved"

    @invariant()
    def what_it_may_do_follows_from_its_state(self) -> None:
        assert self.accounts.people.find(self.account.id).status is self.state
        for key in self.keys:
            if self.state is Status.APPROVED:
                assert self.accounts.ledger.who("stt", key, None).account.id == self.account.id
            else:
                with pytest.raises(Refused) as caught:
                    self.accounts.ledger.who("stt", key, None)
                assert caught.value.code == "account_rejected"
        assert all(self.accounts.sessions.find(session) for session in self.sessions)


@pytest.fixture
def shared_accounts(tmp_path: Path) -> Iterator[Accounts]:
    with closing(Accounts(f"sqlite:///{tmp_path}/accounts.db", lambda: NOON)) as accounts:
        accounts.people.passwords = Passwords(CHEAP)
        accounts.database.migrate()
        yield accounts


def test_approval(shared_accounts: Accounts) -> None:
    machine = type("Machine", (Approval,), {"accounts": shared_accounts})
    from hypothesis.stateful import run_state_machine_as_test

    quick = settings(max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(machine, settings=quick)
