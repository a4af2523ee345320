"""`vivavoce accounts` as administrators and their scripts use it."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vivavoce.accounts.accounts import Accounts
from vivavoce.core import ExitCode, Refused

from ..server.process import Server, fetch

PASSWORD = "a long and good password"
HIDDEN = ("DATABASE_URL", "VIVAVOCE_ACCOUNTS", "VIVAVOCE_CONFIG", "AUTH_PORT", "BETTER_AUTH_SECRET")


def run(*arguments: str, folder: Path, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in HIDDEN}
    environment |= {"XDG_DATA_HOME": str(folder / "data"), **variables}
    command = [sys.executable, "-m", "vivavoce", "accounts", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, input=stdin, capture_output=True, text=True, check=False
    )


def told(*arguments: str, folder: Path, stdin: str = "") -> Any:
    done = run(*arguments, "--json", folder=folder, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_from_an_account_to_its_usage(tmp_path: Path) -> None:
    made = told("create", "Ada@example.org", "--name", "Ada", "--pending", folder=tmp_path, stdin=f"{PASSWORD}\n")
    assert (made["email"], made["status"], made["role"]) == ("ada@example.org", "pending", "user")
    assert [one["id"] for one in told("list", "--status", "pending", folder=tmp_path)] == [made["id"]]
    refused = run("key", "create", "ada@example.org", folder=tmp_path)
    assert (refused.returncode, refused.stdout) == (ExitCode.FAILURE, "")
    assert told("approve", "ada@example.org", folder=tmp_path)["status"] == "approved"
    assert told("limit", made["id"], "--streams", "3", folder=tmp_path)["maxStreams"] == 3
    printed = run("key", "create", "ada@example.org", "--scopes", "stt", "--days", "1", folder=tmp_path)
    key = printed.stdout.strip()
    assert (printed.stdout, printed.stderr) == (f"{key}\n", "")
    (listed,) = told("key", "list", "ada@example.org", folder=tmp_path)
    assert (listed["scopes"], listed["account"]) == (["stt"], made["id"])
    assert key not in str(listed)
    accounts = Accounts(f"sqlite:///{tmp_path}/data/vivavoce/accounts.db")
    accounts.ledger.open("s", "stt", key, None)
    accounts.close()
    (used,) = told("key", "usage", "ada@example.org", "--key", listed["id"], folder=tmp_path)
    assert (used["key"], used["streams"], used["seconds"]) == (listed["id"], 1, 0)
    assert run("key", "revoke", listed["id"], folder=tmp_path).stdout == f"{listed['id']}  revoked\n"
    with pytest.raises(Refused, match="revoked"):
        Accounts(f"sqlite:///{tmp_path}/data/vivavoce/accounts.db").ledger.who("stt", key, None)
    assert told("reject", "ada@example.org", folder=tmp_path)["status"] == "rejected"
    assert stat.S_IMODE((tmp_path / "data" / "vivavoce" / "accounts.db").stat().st_mode) == 0o600


def test_a_lost_password_is_set_anew(tmp_path: Path) -> None:
    told("create", "ada@example.org", folder=tmp_path, stdin=PASSWORD)
    assert run("password", "ada@example.org", folder=tmp_path, stdin="short\n").returncode == ExitCode.USAGE
    done = run("password", "ada@example.org", folder=tmp_path, stdin="a newer good password\n")
    assert done.returncode == 0
    assert "a newer" not in done.stdout + done.stderr
    accounts = Accounts(f"sqlite:///{tmp_path}/data/vivavoce/accounts.db")
    assert accounts.people.with_password("ada@example.org", "a newer good password")
    accounts.close()


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "why"),
    [
        (("create", "nonsense"), PASSWORD, ExitCode.USAGE, "looks like name@example.org"),
        (("create", "eve@example.org"), "short", ExitCode.USAGE, "12 to 128 characters; this one has 5"),
        (("create", "ada@example.org"), PASSWORD, ExitCode.FAILURE, "has an account already"),
        (("approve", "nobody@example.org"), "", ExitCode.FAILURE, "there is no account"),
        (("list", "--status", "odd"), "", ExitCode.USAGE, "a status is one of pending, approved, rejected"),
        (("limit", "ada@example.org", "--streams", "0"), "", ExitCode.USAGE, "streams at once are"),
        (("key", "create", "ada@example.org", "--scopes", "admin"), "", ExitCode.USAGE, "a scope is one of stt, tts"),
        (("key", "revoke", "nothing"), "", ExitCode.FAILURE, "there is no key"),
        (("key", "usage", "--since", "today"), "", ExitCode.USAGE, "a day looks like 2026-11-01"),
        (("migrate", "--database", "mysql://ada:hidden@host/x"), "", ExitCode.FAILURE, "a database of accounts is"),
    ],
)
def test_what_is_wrong_is_one_line_and_a_code(
    tmp_path: Path, arguments: tuple[str, ...], stdin: str, code: int, why: str
) -> None:
    told("create", "ada@example.org", folder=tmp_path, stdin=PASSWORD)
    done = run(*arguments, folder=tmp_path, stdin=stdin)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (code, "", 1), done.stderr
    assert why in done.stderr
    assert "hidden" not in done.stderr and PASSWORD not in done.stderr


def test_a_database_that_is_not_there_is_made_by_who_puts_something_into_it_and_by_nobody_else(tmp_path: Path) -> None:
    named = ("--database", f"sqlite:///{tmp_path}/typo/people.db")
    for verb in (("list",), ("approve", "ada@example.org"), ("key", "usage")):
        done = run(*verb, *named, folder=tmp_path)
        assert (done.returncode, done.stdout) == (ExitCode.FAILURE, "")
        assert f"{tmp_path}/typo/people.db: no database of accounts is there" in done.stderr
    assert not list(tmp_path.iterdir())
    assert run("migrate", *named, folder=tmp_path).returncode == 0
    assert told("list", *named, folder=tmp_path) == []


def test_the_database_is_the_one_that_is_named_first(tmp_path: Path) -> None:
    def used(*flags: str, **variables: str) -> str:
        run("migrate", *flags, folder=tmp_path, **variables)
        (found,) = tmp_path.glob("*.db")
        found.unlink()
        return found.name

    over = {"DATABASE_URL": "sqlite:///fork.db", "VIVAVOCE_ACCOUNTS": "sqlite:///setting.db"}
    assert used("--database", "sqlite:///flag.db", **over) == "flag.db"
    assert used(**over) == "setting.db"
    assert used(DATABASE_URL="sqlite:///fork.db") == "fork.db"
    (tmp_path / ".env").write_text("DATABASE_URL=sqlite:///dotenv.db\n")
    assert used() == "dotenv.db"


def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path) -> None:
    hide = "import sys; sys.modules['sqlalchemy'] = None; from vivavoce.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", hide, "accounts", "list"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.UNSUPPORTED
    assert "pip install 'vivavoce[accounts]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


class AccountsAlone(Server):
    """`vivavoce accounts serve`, as the fork's auth server is started: by variables."""

    command = ("accounts", "serve")


def test_it_serves_alone_in_the_forks_place(tmp_path: Path) -> None:
    variables = {"DATABASE_URL": f"sqlite:///{tmp_path}/a.db", "AUTH_PORT": "0", "BETTER_AUTH_SECRET": "x" * 33}
    with AccountsAlone(environment=variables, port=None) as server:
        assert server.get("/health").json() == {"status": "ok"}
        wish = json.dumps({"email": "ada@example.org", "password": PASSWORD}).encode()
        json_type = {"content-type": "application/json"}
        assert fetch(server.url + "/api/auth/sign-up/email", json_type, wish).status == 200
        assert fetch(server.url + "/api/auth/sign-in/email", json_type, wish).json()["user"]["status"] == "pending"
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    assert PASSWORD not in server.text


def test_it_does_not_begin_without_a_secret(tmp_path: Path) -> None:
    with AccountsAlone(environment={"DATABASE_URL": f"sqlite:///{tmp_path}/a.db"}) as server:
        assert server.wait() == ExitCode.USAGE
    assert "accounts needs jwt_secret" in server.text
