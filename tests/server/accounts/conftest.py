"""Accounts served over a real socket, from a fresh database of either kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest

from vivavoce.accounts.accounts import Accounts
from vivavoce.accounts.people import Status
from vivavoce.server.accounts.serving import alone
from vivavoce.settings import ServeSettings

from ...accounts.conftest import GOOD
from ...accounts.conftest import accounts as accounts  # fixtures
from ...accounts.conftest import clock as clock
from ...accounts.conftest import migrated_database as migrated_database
from ...accounts.conftest import migrated_file as migrated_file
from ...accounts.conftest import postgres as postgres
from ..asgi import serving

SECRET = "a secret of at least thirty-two bytes"
Serve = Callable[..., str]


@pytest.fixture
def serve(accounts: Accounts) -> Iterator[Serve]:
    """`serve(accounts_attempts=3)`: the URL of accounts with such settings."""
    with ExitStack() as stack:

        def begin(**settings: Any) -> str:
            chosen = {"accounts": "sqlite", "jwt_secret": SECRET, "port": 0, "accounts_attempts": 0, **settings}
            made = ServeSettings(**chosen)
            return f"http://{stack.enter_context(serving(alone(accounts, made), made))}"

        yield begin


@pytest.fixture
def url(serve: Serve) -> str:
    return serve()


@pytest.fixture
def browse(url: str) -> Iterator[Callable[[], httpx2.Client]]:
    """Clients with cookies of their own, on a page of the server."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(client(url, {"origin": url}))


def client(url: str, headers: dict[str, str] = {}) -> httpx2.Client:  # noqa: B006
    return httpx2.Client(base_url=url, headers=headers, timeout=60, trust_env=False)


def sign_up(accounts: Accounts, email: str = "ada@example.org", role: str = "user") -> str:
    """An approved account's id."""
    return accounts.people.create(email, GOOD, status=Status.APPROVED, role=role).id


def signed_in(page: httpx2.Client, email: str = "ada@example.org", password: str = GOOD) -> dict[str, Any]:
    answer = page.post("/api/auth/sign-in/email", json={"email": email, "password": password})
    assert answer.status_code == 200, answer.text
    return answer.json()
