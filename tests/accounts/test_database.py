"""The database: where it may be, its schema and how it came about, and what happens without it."""

from __future__ import annotations

import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, select, text

from vivavoce.accounts import tables
from vivavoce.accounts.accounts import Accounts
from vivavoce.accounts.database import Database
from vivavoce.accounts.errors import DatabaseError
from vivavoce.accounts.people import Status

from .conftest import GOOD


def test_the_migrations_make_the_tables_that_the_code_knows(accounts: Accounts) -> None:
    with accounts.database.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
        names = set(inspect(connection).get_table_names())
    assert names == {*tables.metadata.tables, "alembic_version"}


def test_migrating_again_changes_nothing(database: str) -> None:
    with closing(Database(database)) as opened:
        before, after = opened.migrate()
        assert before is None
        assert opened.migrate() == (after, after)


def test_servers_that_start_at_once_migrate_once(database: str) -> None:
    found: list[tuple[str | None, str]] = []

    def start() -> None:
        with closing(Database(database)) as opened:
            found.append(opened.migrate())

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(before is None for before, _ in found) == [False, False, False, True]


def test_a_schema_of_a_newer_version_is_refused(accounts: Accounts) -> None:
    with accounts.database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'from the future'"))
    with pytest.raises(DatabaseError, match="made by a newer version"):
        accounts.database.migrate()


def test_an_account_that_is_deleted_takes_everything_along(accounts: Accounts) -> None:
    account = accounts.people.create("ada@example.org", GOOD, status=Status.APPROVED)
    accounts.sessions.begin(account, 60)
    _, key = accounts.keys.create(account)
    accounts.ledger.open("s", "stt", key, None)
    with accounts.database.begin() as connection:
        connection.execute(tables.accounts.delete())
        left = {name: connection.execute(select(table)).all() for name, table in tables.metadata.tables.items()}
    assert not any(left.values())


def test_a_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.db"
    with closing(Database(f"sqlite:///{path}")) as database:
        database.migrate()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_sqlite_alone_means_a_file_of_this_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with closing(Database("sqlite")) as database:
        database.migrate()
    assert (tmp_path / "vivavoce" / "accounts.db").is_file()


@pytest.mark.parametrize(
    "url",
    ["", "accounts.db", "sqlite://", "sqlite:///:memory:", "mysql://hunter2@host/name", "postgresql+psycopg2://hunter2@h/n",
     "oracle://hunter2:hunter2@host", "postgresql://ada:hunter2@host:port/name", "nothing://hunter2"],
)  # fmt: skip
def test_another_url_is_refused_and_not_quoted(url: str) -> None:
    with pytest.raises(DatabaseError, match="a database of accounts is sqlite, ") as caught:
        Database(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("sqlite:////proc/nowhere/accounts.db", "cannot be written there"),
        ("postgresql://ada:hunter2@127.0.0.1:1/accounts", "does not answer"),
    ],
)
def test_a_database_that_does_not_answer_is_one_line_without_the_password(url: str, why: str) -> None:
    with pytest.raises(DatabaseError, match=why) as caught, closing(Database(url)) as database:
        database.migrate()
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_error_of_the_database_quotes_no_value(accounts: Accounts) -> None:
    with pytest.raises(DatabaseError) as caught, accounts.database.begin() as connection:
        connection.execute(text("SELECT no_such_column FROM accounts WHERE email = :email"), {"email": "hunter2"})
    assert "hunter2" not in str(caught.value)
