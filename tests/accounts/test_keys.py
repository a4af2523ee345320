"""API keys: what they are, what is kept of them, and why one opens nothing."""

from __future__ import annotations

import hashlib

import pytest

from vivavoce.accounts.accounts import Accounts
from vivavoce.accounts.errors import AccountsError
from vivavoce.accounts.people import Account, Status
from vivavoce.core import Fault, Refused

from .conftest import GOOD, NOON, Clock


@pytest.fixture
def ada(accounts: Accounts) -> Account:
    return accounts.people.create("ada@example.org", GOOD, status=Status.APPROVED)


def why(accounts: Accounts, key: str, scope: str = "stt") -> tuple[Fault, str]:
    with pytest.raises(Refused) as caught:
        accounts.ledger.who(scope, key, None)
    assert key not in str(caught.value) + caught.value.hint or not key
    return caught.value.fault, caught.value.code


def test_a_key_opens_what_its_scopes_say(accounts: Accounts, ada: Account) -> None:
    key, text = accounts.keys.create(ada, "laptop", ["stt"])
    holder = accounts.ledger.who("stt", text, None)
    assert (holder.account, holder.key, holder.name) == (ada, key, f"key {key.id}")
    assert why(accounts, text, "tts") == (Fault.FORBIDDEN, "out_of_scope")


def test_a_key_is_long_and_random_and_the_database_has_its_digest(accounts: Accounts, ada: Account) -> None:
    key, text = accounts.keys.create(ada)
    prefix, name, secret = text.split("_", 2)
    assert (prefix, name, len(secret)) == ("vv", key.id, 43)
    with accounts.database.begin() as connection:
        row = connection.exec_driver_sql("SELECT * FROM api_keys").one()
    assert hashlib.sha256(secret.encode()).hexdigest() in row
    assert secret not in map(str, row)
    assert text not in repr(key)


def test_a_key_with_another_secret_another_id_or_none_is_not_ours(accounts: Accounts, ada: Account) -> None:
    (_, one), (_, two) = accounts.keys.create(ada), accounts.keys.create(ada)
    swapped = "_".join([*one.split("_", 2)[:2], two.split("_", 2)[2]])
    for text in (
        one[:-1],
        one + "x",
        swapped,
        one.upper(),
        "vv_",
        "vv__",
        "vv_x_",
        f"vv_{'x' * 40}_y",
        "",
        "vv_\ud800_x",
    ):
        assert why(accounts, text) == (Fault.UNAUTHENTICATED, "invalid_key")


def test_a_key_that_was_revoked_opens_nothing_and_says_so_to_its_holder_alone(accounts: Accounts, ada: Account) -> None:
    key, text = accounts.keys.create(ada)
    assert accounts.keys.revoke(key.id).revoked_at == NOON
    assert why(accounts, text) == (Fault.UNAUTHENTICATED, "revoked_key")
    assert why(accounts, text[:-1] + "!") == (Fault.UNAUTHENTICATED, "invalid_key")


def test_revoking_again_keeps_the_first_moment(accounts: Accounts, ada: Account, clock: Clock) -> None:
    key, _ = accounts.keys.create(ada)
    accounts.keys.revoke(key.id)
    clock.now += 5
    assert accounts.keys.revoke(key.id).revoked_at == NOON


def test_a_key_expires_to_the_second(accounts: Accounts, ada: Account, clock: Clock) -> None:
    _, text = accounts.keys.create(ada, seconds=60)
    clock.now += 59.999
    assert accounts.ledger.who("stt", text, None)
    clock.now = NOON + 60
    assert why(accounts, text) == (Fault.UNAUTHENTICATED, "expired_key")


@pytest.mark.parametrize(
    ("status", "code"), [(Status.REJECTED, "account_rejected"), (Status.PENDING, "pending_approval")]
)
def test_the_keys_of_an_account_that_is_not_approved_open_nothing(
    accounts: Accounts, ada: Account, status: Status, code: str
) -> None:
    _, text = accounts.keys.create(ada)
    accounts.people._set(ada.id, status=status)
    assert why(accounts, text) == (Fault.FORBIDDEN, code)


def test_a_key_is_nobody_elses(accounts: Accounts, ada: Account) -> None:
    eve = accounts.people.create("eve@example.org", GOOD, status=Status.APPROVED)
    key, text = accounts.keys.create(ada)
    with pytest.raises(AccountsError, match="there is no key"):
        accounts.keys.revoke(key.id, eve.id)
    assert accounts.keys.all(eve.id) == []
    assert accounts.ledger.who("stt", text, None).account == ada


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"scopes": ["stt", "admin"]}, "invalid_scope"),
        ({"scopes": []}, "invalid_scope"),
        ({"seconds": 0}, "invalid_expiry"),
        ({"seconds": float("nan")}, "invalid_expiry"),
        ({"max_streams": 0}, "invalid_limit"),
        ({"audio_seconds": -1.0}, "invalid_limit"),
        ({"name": "a\nb"}, "invalid_name"),
        ({"name": "x" * 201}, "invalid_name"),
    ],
)
def test_a_key_that_cannot_be_is_not_made(
    accounts: Accounts, ada: Account, options: dict[str, object], code: str
) -> None:
    with pytest.raises(AccountsError) as caught:
        accounts.keys.create(ada, **options)  # type: ignore[arg-type]
    assert caught.value.code == code
    assert accounts.keys.all() == []


def test_an_account_has_a_hundred_keys_at_most(accounts: Accounts, ada: Account) -> None:
    made = [accounts.keys.create(ada)[0] for _ in range(100)]
    with pytest.raises(AccountsError, match="100 keys"):
        accounts.keys.create(ada)
    accounts.keys.revoke(made[0].id)
    assert accounts.keys.create(ada)
