"""`vivavoce accounts`: people, and who may come in."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from vivavoce.settings.serve import Accounts, Logs

from . import accounts_key
from .accounts_database import DATABASE, JSON, opened, say
from .options import CONFIG, settled, with_settings

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="rich",
    no_args_is_help=True,
    help="Accounts of people, their approval, and their API keys.\n\n"
    "The database is the first of: --database, the setting accounts (VIVAVOCE_ACCOUNTS, also in .env), $DATABASE_URL, "
    "and a file of yours.",
)
app.add_typer(accounts_key.app, name="key")
PORT = 3001
_SETTINGS = {
    *("addr", "port", "tls_cert", "tls_key", "origins", "trusted_proxies", "jwt_secret", "jwt_old_secrets"),
    *Accounts.model_fields,
    *(Logs.model_fields.keys() - {"otel"}),
}
ACCOUNT = Annotated[str, typer.Argument(metavar="ACCOUNT", help="Its e-mail address or id.", show_default=False)]


@app.command(
    help="Serve sign-up, sign-in, keys and approval over HTTP, without streams, at port 3001.\n\n"
    "Servers of streams take its tokens when they have its secret, and its keys when they have its database."
)
@with_settings(only=_SETTINGS)
def serve(*, config: CONFIG = None, flags: dict[str, Any]) -> int:
    from vivavoce.settings.layers import read_dotenv

    around = {**read_dotenv(Path(".env")), **os.environ}
    defaults = {"port": around.get("AUTH_PORT") or PORT, "accounts": around.get("DATABASE_URL") or "sqlite"}
    loaded = settled(flags, config, None, defaults=defaults)
    from vivavoce.server.accounts.serving import serve

    return serve(loaded.settings)


@app.command()
def migrate(database: DATABASE = None, json: JSON = False) -> None:
    """Bring the database's tables up to date; a server does the same when it starts."""
    with opened(database, migrate=False, make=True) as accounts:
        before, after = accounts.database.migrate()
    say(json, {"before": before, "after": after}, f"schema {after}" + ("" if before == after else ", updated"))


@app.command()
def create(
    email: Annotated[str, typer.Argument(metavar="EMAIL", show_default=False)],
    name: Annotated[str, typer.Option(help="As it is shown.", show_default=False)] = "",
    admin: Annotated[bool, typer.Option("--admin", help="May approve others.")] = False,
    pending: Annotated[bool, typer.Option("--pending", help="Waits for approval.")] = False,
    database: DATABASE = None,
    json: JSON = False,
) -> None:
    """Make an account, approved unless told otherwise; the password is asked for, or read from standard input."""
    from vivavoce.accounts.people import Status

    status = Status.PENDING if pending else Status.APPROVED
    with opened(database, make=True) as accounts:
        account = accounts.people.create(email, _password(), name, status, "admin" if admin else "user")
    say(json, _told(account), f"{account.id}  {account.email}  {account.status}")


@app.command()
def password(account: ACCOUNT, database: DATABASE = None, json: JSON = False) -> None:
    """Set another password, asked for or read from standard input, for who has lost theirs; signs them out."""
    from vivavoce.accounts.passwords import demand_good

    with opened(database) as accounts:
        found = accounts.people.find(account)
        demand_good(new := _password(), found.email)
        accounts.people.set_password(found.id, new)
        accounts.sessions.end_all(found.id)
    say(json, _told(found), f"{found.id}  {found.email}  signed out")


@app.command("list")
def list_accounts(
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="Only those: pending, approved or rejected.")
    ] = None,
    database: DATABASE = None,
    json: JSON = False,
) -> None:
    """A line for each account: id, e-mail address, state, role, name."""
    with opened(database) as accounts:
        from vivavoce.accounts.people import Status

        if status is not None and status not in set(Status):
            raise typer.BadParameter(f"a status is one of {', '.join(Status)}, got {status}")
        found = accounts.people.all(None if status is None else Status(status))
    lines = [f"{one.id}  {one.email}  {one.status}  {one.role}  {one.name}" for one in found]
    say(json, [_told(one) for one in found], *lines)


@app.command()
def approve(account: ACCOUNT, database: DATABASE = None, json: JSON = False) -> None:
    """Let an account use the servers."""
    _judge(account, "approved", database, json)


@app.command()
def reject(account: ACCOUNT, database: DATABASE = None, json: JSON = False) -> None:
    """Shut an account out: it is signed out, its keys open nothing, its streams end within seconds."""
    _judge(account, "rejected", database, json)


@app.command()
def limit(
    account: ACCOUNT,
    streams: Annotated[int | None, typer.Option(metavar="N", help="At once, of all keys; else no limit.")] = None,
    audio: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Of audio in a calendar month; else no limit.")
    ] = None,
    database: DATABASE = None,
    json: JSON = False,
) -> None:
    """Set what an account may use, with all of its keys and tokens together."""
    with opened(database) as accounts:
        changed = accounts.people.limit(accounts.people.find(account).id, streams, audio)
    say(json, _told(changed), f"{changed.id}  {changed.email}  {_limits(changed.max_streams, changed.audio_seconds)}")


def _limits(streams: int | None, seconds: float | None) -> str:
    at_once = "any number of streams" if streams is None else f"{streams} streams"
    return f"{at_once}, {'any' if seconds is None else f'{seconds:g} s of'} audio a month"


def _judge(account: str, status: str, database: str | None, json: bool) -> None:
    from vivavoce.accounts.people import Status

    with opened(database) as accounts:
        judged = accounts.people.judge(accounts.people.find(account).id, Status(status))
    say(json, _told(judged), f"{judged.id}  {judged.email}  {judged.status}")


def _told(account: Any) -> dict[str, Any]:
    from vivavoce.server.accounts.admin import account_told

    return account_told(account)


def _password() -> str:
    """Twice from a terminal, without an echo; else the first line of standard input."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")
