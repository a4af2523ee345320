"""The database: where it is, transactions, and its schema."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from .errors import AccountsError, DatabaseError

EMBEDDED = "sqlite"  # instead of a URL: a file of this user's
BUSY_SECONDS = 10.0  # for which a transaction waits for another one of SQLite
CONNECTIONS = 5  # of a process to PostgreSQL; five more when all are taken


class Database:
    """`sqlite`, `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/NAME`. Raises DatabaseError for another URL.

    A file that does not exist is made, for its owner's eyes only; or, unless told to `make` it, another DatabaseError.
    """

    def __init__(self, url: str, *, make: bool = True) -> None:
        self.url = _url(url)
        file = self.url.database if self.url.get_backend_name() == "sqlite" else None
        if file and not make and not Path(file).exists():
            raise DatabaseError(f"{file}: no database of accounts is there; vivavoce accounts migrate makes one")
        self.engine = _sqlite(self.url) if self.url.get_backend_name() == "sqlite" else _postgresql(self.url)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction. Raises DatabaseError when the database does not answer; nothing has changed then."""
        try:
            with self.engine.begin() as connection:
                yield connection
        except IntegrityError:
            raise
        except DataError:
            why = "a text has a character that the database does not take"
            raise AccountsError("invalid_text", why) from None
        except (DBAPIError, PoolTimeout) as error:
            raise DatabaseError(f"the database of accounts does not answer: {_why(error)}") from None

    def upsert(self, table: Table) -> Any:
        """An INSERT that knows ON CONFLICT."""
        return _INSERTS[self.engine.dialect.name](table)

    def migrate(self) -> tuple[str | None, str]:
        """Brings the schema up to date; safe when many do so at once. The revisions before and after."""
        with _scripts() as config, self.begin() as connection:
            if self.engine.dialect.name == "postgresql":
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(20261129)")
            before = MigrationContext.configure(connection).get_current_revision()
            head = ScriptDirectory.from_config(config).get_current_head()
            assert head is not None
            if before != head:
                config.attributes["connection"] = connection
                try:
                    command.upgrade(config, "head")
                except CommandError as error:
                    raise DatabaseError(f"the database of accounts was made by a newer version: {error}") from None
            return before, head

    def close(self) -> None:
        self.engine.dispose()


_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@contextmanager
def _scripts() -> Iterator[Config]:
    with as_file(files(__package__) / "migrations") as folder:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        yield config


def _url(text: str) -> URL:
    if text == EMBEDDED:
        home = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser()
        text = f"sqlite:///{home}/vivavoce/accounts.db"
    text = text.replace("postgres://", "postgresql://", 1) if text.startswith("postgres://") else text
    try:
        url = make_url(text)
        url.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise DatabaseError(_WANTED) from None  # what was given may hold a password
    if url.drivername in ("postgresql", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        return url
    raise DatabaseError(_WANTED)


_WANTED = "a database of accounts is sqlite, sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"


def _sqlite(url: URL) -> Engine:
    assert url.database
    _make_private(Path(url.database))
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _: object) -> None:
        connection.isolation_level = None  # `begin` below says how a transaction begins
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # who reads first and writes then never finds the database busy

    return engine


def _postgresql(url: URL) -> Engine:
    return create_engine(
        url,
        hide_parameters=True,
        pool_size=CONNECTIONS,
        max_overflow=CONNECTIONS,
        pool_timeout=BUSY_SECONDS,
        pool_pre_ping=True,
        connect_args={"connect_timeout": int(BUSY_SECONDS)},
    )


def _make_private(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=stat.S_IRWXU)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, stat.S_IRUSR | stat.S_IWUSR))
    except OSError as error:
        raise DatabaseError(f"{path}: the database of accounts cannot be written there: {error.strerror}") from None


def _why(error: DBAPIError | PoolTimeout) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return " ".join(str(cause).split()) or type(cause).__name__
