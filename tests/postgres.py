"""A real PostgreSQL: the one of $VIVAVOCE_POSTGRES, or else a cluster of our own that listens in a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

VARIABLE = "VIVAVOCE_POSTGRES"
_USER = "postgres"  # who runs it where the tests are run by root, which it refuses


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a server, without a database's name."""
    if given := os.environ.get(VARIABLE):
        yield given.rstrip("/")
        return
    binaries = _binaries()
    if binaries is None:
        pytest.skip(f"no PostgreSQL here: install Debian's package postgresql, or set {VARIABLE}")
    with _cluster(binaries) as folder:
        yield f"postgresql://{_USER}@/%s?host={folder}"


@contextmanager
def fresh_database(server: str, template: str = "template1") -> Iterator[str]:
    """The URL of a database like `template`, which is empty; dropped afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url_of(server, "postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy".encode())
        try:
            yield url_of(server, name)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def url_of(server: str, database: str) -> str:
    return server.replace("%s", database) if "%s" in server else f"{server}/{database}"


def _binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    path = str(found[-1]) if found else shutil.which("initdb")
    return Path(path).parent if path else None


@contextmanager
def _cluster(binaries: Path) -> Iterator[Path]:
    user = _USER if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="vivavoce-postgres-") as text:
        folder = Path(text)
        if user:
            shutil.chown(folder, user)
        data = folder / "data"

        def run(*command: str) -> None:
            done = subprocess.run(
                [str(binaries / command[0]), *command[1:]], user=user, cwd=folder, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stdout + done.stderr

        run("initdb", "-D", str(data), "-U", _USER, "-A", "trust", "--no-sync", "-E", "UTF8")
        options = f"-k {folder} -c listen_addresses='' -c fsync=off -c max_connections=200"
        run("pg_ctl", "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
        try:
            yield folder
        finally:
            run("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
