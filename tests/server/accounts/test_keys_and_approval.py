"""Keys, usage and approval over HTTP."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest

from vivavoce.accounts.accounts import Accounts
from vivavoce.accounts.ledger import Bill

from ...accounts.conftest import GOOD
from .conftest import client, sign_up, signed_in

Browse = Callable[[], httpx2.Client]


def test_keys_are_made_listed_and_revoked_by_their_holder(browse: Browse, accounts: Accounts) -> None:
    sign_up(accounts)
    sign_up(accounts, "eve@example.org")
    ada, eve = browse(), browse()
    signed_in(ada)
    signed_in(eve, "eve@example.org")
    wish = {"name": "laptop", "scopes": ["stt"], "expiresIn": 60, "maxStreams": 2, "audioSeconds": 3600}
    answer = ada.post("/api/keys", json=wish)
    assert answer.status_code == 201
    made = answer.json()
    text = made.pop("key")
    assert accounts.ledger.who("stt", text, None).key
    assert made == {
        "id": made["id"], "name": "laptop", "scopes": ["stt"], "maxStreams": 2, "audioSeconds": 3600.0,
        "createdAt": "2026-11-29T12:00:00.000Z", "expiresAt": "2026-11-29T12:01:00.000Z", "revokedAt": None,
    }  # fmt: skip
    assert ada.get("/api/keys").json() == {"keys": [made]}
    assert eve.get("/api/keys").json() == {"keys": []}
    assert eve.post(f"/api/keys/{made['id']}/revoke").status_code == 404
    assert ada.post(f"/api/keys/{made['id']}/revoke").json()["revokedAt"]


def test_usage_is_told_by_day_and_for_the_month(browse: Browse, accounts: Accounts) -> None:
    ada = accounts.people.find(sign_up(accounts))
    key, text = accounts.keys.create(ada)
    accounts.ledger.settle([Bill("s", accounts.ledger.open("s", "stt", text, None), 12.5, 0)], ["s"])
    page = browse()
    signed_in(page)
    day = {"day": "2026-11-29", "key": key.id, "streams": 1, "seconds": 12.5}
    assert page.get("/api/usage").json() == {"month": {"streams": 1, "seconds": 12.5}, "days": [day]}
    assert page.get("/api/usage", params={"key": "another"}).json()["days"] == []
    assert page.get("/api/usage?key=%00").status_code in (200, 400)  # PostgreSQL does not take it, SQLite does


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/keys"), ("POST", "/api/keys"), ("GET", "/api/usage"), ("GET", "/api/auth/token"),
     ("GET", "/api/admin/accounts"), ("POST", "/api/admin/accounts/x/approve"),
     ("POST", "/api/auth/revoke-other-sessions")],
)  # fmt: skip
def test_who_has_not_signed_in_gets_nothing(url: str, method: str, path: str) -> None:
    with client(url) as program:
        answer = program.request(method, path, **({"json": {}} if method == "POST" else {}))
    assert (answer.status_code, answer.json()["code"]) == (401, "not_signed_in")


def test_an_administrator_approves_and_rejects(browse: Browse, url: str, accounts: Accounts) -> None:
    sign_up(accounts, "root@example.org", "admin")
    with client(url) as program:
        program.post("/api/auth/sign-up/email", json={"email": "ada@example.org", "password": GOOD})
    root, ada = browse(), browse()
    signed_in(root, "root@example.org")
    (waiting,) = root.get("/api/admin/accounts", params={"status": "pending"}).json()["accounts"]
    assert waiting["email"] == "ada@example.org"
    signed_in(ada)
    assert ada.post("/api/keys", json={}).json()["code"] == "not_approved"
    one = f"/api/admin/accounts/{waiting['id']}"
    assert root.post(f"{one}/approve").json()["status"] == "approved"
    assert ada.post("/api/keys", json={}).status_code == 201
    limited = root.post(f"{one}/limit", json={"maxStreams": 3, "audioSeconds": 60}).json()
    assert (limited["maxStreams"], limited["audioSeconds"]) == (3, 60)
    assert root.post(f"{one}/reject").json()["status"] == "rejected"
    assert ada.get("/api/auth/get-session").json() is None
    assert root.post("/api/admin/accounts/nobody/approve").status_code == 404
    assert root.get("/api/admin/accounts", params={"status": "odd"}).status_code == 400


@pytest.mark.parametrize("name", ["approve", "reject", "limit", ""])
def test_nobody_else_does(browse: Browse, accounts: Accounts, name: str) -> None:
    own = sign_up(accounts)
    ada = browse()
    signed_in(ada)
    answer = ada.post(f"/api/admin/accounts/{own}/{name}", json={}) if name else ada.get("/api/admin/accounts")
    assert (answer.status_code, answer.json()["code"]) == (403, "not_administrator")
