"""`vivavoce accounts key`: the API keys of accounts."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .accounts_database import DATABASE, JSON, opened, say

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="API keys: what programs come in with.")
ACCOUNT = Annotated[
    str | None, typer.Argument(metavar="[ACCOUNT]", help="Its e-mail address or id; else of all.", show_default=False)
]


@app.command()
def create(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="Its e-mail address or id.", show_default=False)],
    name: Annotated[str, typer.Option(help="What it is for.", show_default=False)] = "",
    scopes: Annotated[str, typer.Option(help="What it opens.")] = "stt,tts",
    days: Annotated[float | None, typer.Option(metavar="DAYS", help="How long it is good for; else always.")] = None,
    streams: Annotated[int | None, typer.Option(metavar="N", help="At once; else any number.")] = None,
    audio: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Of audio in a calendar month; else any.")
    ] = None,
    database: DATABASE = None,
    json: JSON = False,
) -> None:
    """Print a new key, and nothing else. It is shown this once; the database has only its digest."""
    with opened(database) as accounts:
        holder = accounts.people.find(account)
        wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
        seconds = None if days is None else days * 86_400
        key, text = accounts.keys.create(holder, name, wanted, seconds, streams, audio)
    say(json, {**_told(key), "key": text}, text)


@app.command("list")
def list_keys(account: ACCOUNT = None, database: DATABASE = None, json: JSON = False) -> None:
    """A line for each key: id, account, scopes, state, name."""
    with opened(database) as accounts:
        found = accounts.keys.all(accounts.people.find(account).id if account else None)
        now = accounts.clock()
    lines = [f"{key.id}  {key.account_id}  {','.join(key.scopes)}  {_state(key, now)}  {key.name}" for key in found]
    say(json, [{**_told(key), "account": key.account_id} for key in found], *lines)


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its id.", show_default=False)],
    database: DATABASE = None,
    json: JSON = False,
) -> None:
    """Make a key open nothing any more; streams that came in with it end within seconds."""
    with opened(database) as accounts:
        revoked = accounts.keys.revoke(key)
    say(json, _told(revoked), f"{revoked.id}  revoked")


@app.command()
def usage(
    account: ACCOUNT = None,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="Only of this key (its id).")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="DAY", help="From that day on, such as 2026-11-01; else this month.")
    ] = None,
    database: DATABASE = None,
    json: JSON = False,
) -> None:
    """A line for each day (UTC), account and key: streams, seconds of audio. Without a key: by token."""
    with opened(database) as accounts:
        holder = accounts.people.find(account).id if account else None
        first = accounts.ledger.month() if since is None else _day(since)
        found = accounts.ledger.used(holder, key, first)
    from vivavoce.server.accounts.keys import dashed

    lines = [
        f"{dashed(one.day)}  {one.account_id}  {one.key_id or 'token'}  {one.streams}  {one.seconds:.1f}"
        for one in found
    ]
    told = [
        {"day": dashed(one.day), "account": one.account_id, "key": one.key_id or None}
        | {"streams": one.streams, "seconds": round(one.seconds, 3)}
        for one in found
    ]
    say(json, told, *lines)


def _told(key: Any) -> dict[str, Any]:
    from vivavoce.server.accounts.keys import key_told

    return key_told(key)


def _state(key: Any, now: float) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "good"


def _day(text: str) -> int:
    from datetime import date

    try:
        return int(date.fromisoformat(text).strftime("%Y%m%d"))
    except ValueError:
        raise typer.BadParameter(f"a day looks like 2026-11-01, got {text}") from None
