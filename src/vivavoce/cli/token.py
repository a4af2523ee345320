"""`vivavoce token`: tokens of the account service, for people and scripts."""

from __future__ import annotations

import json
import os
import sys
import warnings
from typing import Annotated

import typer

from vivavoce.core import ExitCode

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="rich",
    no_args_is_help=True,
    help="Mint, verify and look into the tokens (JWT, HS256) that open a server.\n\n"
    "The secret is the first of: --secret, $BETTER_AUTH_SECRET, BETTER_AUTH_SECRET in the file .env.NAME here "
    "(NAME is --env, $ENV or development), and in .env. It is never printed.",
)

SECRET = Annotated[
    str | None,
    typer.Option(metavar="SECRET", help="The secret; others on this machine may see a flag.", show_default=False),
]
ENV = Annotated[str | None, typer.Option(metavar="NAME", help="Which .env.NAME to read.", show_default=False)]
TOKEN = Annotated[
    str | None,
    typer.Argument(metavar="[TOKEN]", help="The token; - reads standard input; without it, $MOSHI_JWT_TOKEN."),
]


@app.command()
def mint(
    hours: Annotated[float, typer.Option(help="How long it is good for.")] = 1.0,
    user: Annotated[str | None, typer.Option(metavar="ID", help="The user's id; a random one if not given.")] = None,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="The account's state: approved, pending or rejected.")
    ] = None,
    secret: SECRET = None,
    env: ENV = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One object: token, user, session, expires_in_seconds.")
    ] = False,
) -> None:
    """Print a fresh token, and nothing else."""
    from vivavoce.client import tokens

    token = tokens.mint(tokens.demand(secret, env), hours, user=user, status=status)
    typer.echo(json.dumps({"token": token, **_account(token)}, indent=2) if as_json else token)


@app.command()
def verify(
    token: TOKEN = None,
    secret: SECRET = None,
    env: ENV = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One object: valid, and user, session, expires_in_seconds or reason.")
    ] = False,
) -> int:
    """Judge a token as a server with this secret would: exit code 0 and who it is, or 1 and why not."""
    from vivavoce.client import tokens
    from vivavoce.server.errors import Refused
    from vivavoce.server.tokens import Tokens

    text, judge = _read(token), Tokens(tokens.demand(secret, env))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The HMAC key is")  # `mint` says so
            who = judge.user(text)
    except Refused as refused:
        if not as_json:
            raise
        typer.echo(json.dumps({"valid": False, "reason": str(refused)}, indent=2, ensure_ascii=False))
        return refused.exit_code
    if as_json:
        typer.echo(json.dumps({"valid": True, **_account(text)}, indent=2, ensure_ascii=False))
    else:
        typer.echo(f"{who}, {_lifetime(tokens.lifetime(tokens.inspect(text)[1]))}")
    return ExitCode.OK


@app.command()
def inspect(token: TOKEN = None) -> None:
    """Print header and claims as JSON, whoever signed them: nothing is verified, no secret is needed."""
    from vivavoce.client import tokens

    header, claims = tokens.inspect(_read(token))
    left = tokens.lifetime(claims)
    told = {"header": header, "claims": claims, "expires_in_seconds": None if left is None else round(left)}
    typer.echo(json.dumps(told, indent=2, ensure_ascii=False))


def _account(token: str) -> dict[str, object]:
    """Whose it is and how long it is good for, as it says itself."""
    from vivavoce.client import tokens

    claims = tokens.inspect(token)[1]
    left = tokens.lifetime(claims)
    return {
        "user": claims["user"]["id"],
        "session": claims["session"]["id"],
        "expires_in_seconds": None if left is None else round(left),
    }


def _read(given: str | None) -> str:
    found = sys.stdin.read() if given == "-" else given or os.environ.get("MOSHI_JWT_TOKEN", "")
    if not found.strip():
        raise typer.BadParameter("no token: give it as an argument, on standard input (-) or in MOSHI_JWT_TOKEN")
    return found.strip()


def _lifetime(left: float | None) -> str:
    if left is None:
        return "never expires"
    return f"good for {left / 3600:.1f} h" if left > 0 else f"expired {-left / 3600:.1f} h ago"
