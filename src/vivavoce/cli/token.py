"""`vivavoce token`: tokens of the account service, for people and scripts."""

from __future__ import annotations

import json
import os
import sys
import warnings
from typing import Annotated

import typer

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
) -> None:
    """Print a fresh token, and nothing else."""
    from vivavoce.client import tokens

    typer.echo(tokens.mint(tokens.demand(secret, env), hours, user=user, status=status))


@app.command()
def verify(token: TOKEN = None, secret: SECRET = None, env: ENV = None) -> None:
    """Judge a token as a server with this secret would: exit code 0 and who it is, or 1 and why not."""
    from vivavoce.client import tokens
    from vivavoce.server.tokens import Tokens

    text = _read(token)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The HMAC key is")  # `mint` says so
        who = Tokens(tokens.demand(secret, env)).user(text)
    typer.echo(f"{who}, {_lifetime(tokens.lifetime(tokens.inspect(text)[1]))}")


@app.command()
def inspect(token: TOKEN = None) -> None:
    """Print header and claims as JSON, whoever signed them: nothing is verified, no secret is needed."""
    from vivavoce.client import tokens

    header, claims = tokens.inspect(_read(token))
    left = tokens.lifetime(claims)
    told = {"header": header, "claims": claims, "expires_in_seconds": None if left is None else round(left)}
    typer.echo(json.dumps(told, indent=2, ensure_ascii=False))


def _read(given: str | None) -> str:
    found = sys.stdin.read() if given == "-" else given or os.environ.get("MOSHI_JWT_TOKEN", "")
    if not found.strip():
        raise typer.BadParameter("no token: give it as an argument, on standard input (-) or in MOSHI_JWT_TOKEN")
    return found.strip()


def _lifetime(left: float | None) -> str:
    if left is None:
        return "never expires"
    return f"good for {left / 3600:.1f} h" if left > 0 else f"expired {-left / 3600:.1f} h ago"
