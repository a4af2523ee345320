"""Sessions: how they begin, go on and end, and what a token says."""

from __future__ import annotations

import jwt
import pytest

from vivavoce.accounts.accounts import Accounts
from vivavoce.accounts.errors import AccountsError
from vivavoce.accounts.people import Status
from vivavoce.accounts.tokens import signed
from vivavoce.core import Refused
from vivavoce.server.tokens import SESSION_CLAIMS, Tokens

from .conftest import GOOD, NOON, Clock

SECRET = "a secret of at least thirty-two bytes"


def test_a_session_is_found_by_its_secret_until_it_is_over(accounts: Accounts, clock: Clock) -> None:
    account = accounts.people.create("ada@example.org", GOOD)
    session, secret = accounts.sessions.begin(account, 60, "192.0.2.1", "curl")
    assert accounts.sessions.find(secret) == (session, account)
    assert (session.ip_address, session.user_agent, session.expires_at) == ("192.0.2.1", "curl", NOON + 60)
    clock.now += 60
    assert accounts.sessions.find(secret) is None


def test_the_database_has_no_secret_of_a_session(accounts: Accounts) -> None:
    _, secret = accounts.sessions.begin(accounts.people.create("ada@example.org", GOOD), 60)
    with accounts.database.begin() as connection:
        row = connection.exec_driver_sql("SELECT * FROM sessions").one()
    assert secret not in map(str, row)


def test_who_signs_in_twice_has_two_sessions_that_end_apart(accounts: Accounts) -> None:
    account = accounts.people.create("ada@example.org", GOOD)
    (first, one), (_, two) = (accounts.sessions.begin(account, 60) for _ in range(2))
    accounts.sessions.end(first.id)
    assert accounts.sessions.find(one) is None
    assert accounts.sessions.find(two)
    assert accounts.sessions.of_token(first.id) is None


def test_refreshing_gives_another_secret_and_voids_the_old_one(accounts: Accounts, clock: Clock) -> None:
    account = accounts.people.create("ada@example.org", GOOD)
    session, first = accounts.sessions.begin(account, 60)
    clock.now += 10
    after, _, second = accounts.sessions.refresh(first)
    assert (after.id, after.expires_at, after.updated_at) == (session.id, NOON + 60, NOON + 10)
    assert accounts.sessions.find(first) is None
    assert accounts.sessions.find(second)


def test_a_void_secret_that_comes_again_ends_the_session(accounts: Accounts) -> None:
    _, first = accounts.sessions.begin(accounts.people.create("ada@example.org", GOOD), 60)
    _, _, second = accounts.sessions.refresh(first)
    for secret in (first, second):  # the thief's, and then its owner's
        with pytest.raises(AccountsError) as caught:
            accounts.sessions.refresh(secret)
        assert caught.value.code == "invalid_session"
    assert accounts.sessions.find(second) is None


def test_a_token_has_the_claims_that_the_forks_clients_and_servers_know(accounts: Accounts, clock: Clock) -> None:
    account = accounts.people.create("ada@example.org", GOOD, "Ada", Status.APPROVED)
    session, secret = accounts.sessions.begin(account, 3600, "192.0.2.1", "curl")
    token = signed(SECRET, account, session, clock(), 900)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    claims = jwt.decode(token, options={"verify_signature": False})
    noon = "2026-11-29T12:00:00.000Z"
    assert {**claims["session"], "token": ""} == {
        "id": session.id, "userId": account.id, "createdAt": noon, "updatedAt": noon,
        "expiresAt": "2026-11-29T13:00:00.000Z", "token": "", "ipAddress": "192.0.2.1", "userAgent": "curl",
    }  # fmt: skip
    assert claims["user"] == {
        "id": account.id, "name": "Ada", "email": "ada@example.org", "emailVerified": False, "image": None,
        "createdAt": noon, "updatedAt": noon, "status": "approved", "role": "user",
    }  # fmt: skip
    assert (claims["iat"], claims["exp"], claims["iss"]) == (NOON, NOON + 900, "vivavoce")
    assert set(SESSION_CLAIMS) <= set(claims["session"])
    assert secret not in str(claims)
    assert claims["session"]["token"] != session.id


def test_a_token_does_not_outlive_its_session(accounts: Accounts, clock: Clock) -> None:
    account = accounts.people.create("ada@example.org", GOOD, status=Status.APPROVED)
    session, _ = accounts.sessions.begin(account, 60)
    token = signed(SECRET, account, session, clock(), 900)
    assert Tokens(SECRET, lambda: NOON + 59).read(token).session == session.id
    with pytest.raises(Refused, match="expired"):
        Tokens(SECRET, lambda: NOON + 60).read(token)


def test_a_token_of_an_old_secret_is_good_while_that_is_kept(accounts: Accounts, clock: Clock) -> None:
    account = accounts.people.create("ada@example.org", GOOD, status=Status.APPROVED)
    token = signed(SECRET, account, accounts.sessions.begin(account, 60)[0], clock(), 900)
    newer = SECRET[::-1]
    assert Tokens(newer, clock, old=["some other secret of enough bytes", SECRET]).user(token) == f"user {account.id}"
    with pytest.raises(Refused, match="signature is wrong"):
        Tokens(newer, clock).user(token)
