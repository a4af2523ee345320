"""Accounts in a fresh database of either kind, and a clock that the test turns."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from sqlalchemy import make_url

from vivavoce.accounts.accounts import Accounts
from vivavoce.accounts.database import Database
from vivavoce.accounts.passwords import Passwords

from ..postgres import fresh_database
from ..postgres import postgres as postgres  # a fixture

GOOD = "a long and good password"
CHEAP = PasswordHasher(
    time_cost=1, memory_cost=8, parallelism=1
)  # next to no effort, where passwords are not the matter
NOON = 1_795_953_600.0  # 2026-11-29T12:00:00Z


@dataclass
class Clock:
    """Seconds since 1970."""

    now: float = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database; a test with it is run on both kinds."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/accounts.db"
    else:
        with fresh_database(request.getfixturevalue("postgres")) as url:
            yield url


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "accounts.db"
    with closing(Database(f"sqlite:///{path}")) as database:
        database.migrate()
    return path


@pytest.fixture(scope="session")
def migrated_database(postgres: str) -> Iterator[str]:
    with fresh_database(postgres) as url:
        with closing(Database(url)) as database:
            database.migrate()
        yield str(make_url(url).database)


@pytest.fixture(params=["sqlite", "postgresql"])
def accounts(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Accounts]:
    """No account yet, in a copy of a database that was migrated; a test with it is run on both kinds."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            file = shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "accounts.db")
            url = f"sqlite:///{file}"
        else:
            template = request.getfixturevalue("migrated_database")
            url = stack.enter_context(fresh_database(request.getfixturevalue("postgres"), template))
        accounts = stack.enter_context(closing(Accounts(url, clock)))
        accounts.people.passwords = Passwords(CHEAP)
        yield accounts
