"""What every verb that talks to a server is told: where it is, and what opens it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from vivavoce.client import ClientEvent
    from vivavoce.client.services import Service

Dialect = Literal["auto", "stream", "moshi"]
URL = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The server: ws://host:8080, or with the path of a dialect (/v1/stream, /api/asr-streaming).",
    ),
]
SERVICE = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="A server with a name: from ~/.config/vivavoce/services.toml ($VIVAVOCE_SERVICES), or "
        "[bold]local[/bold] (LOCAL_WS_URL), [bold]modal[/bold] (MODAL_WORKSPACE, MODAL_KEY, MODAL_SECRET).",
    ),
]
KEY = Annotated[
    str | None, typer.Option("--key", "--api-key", metavar="KEY", help="An API key, sent as kyutai-api-key.")
]
TOKEN = Annotated[
    str | None,
    typer.Option(metavar="JWT", help="A token, sent as Authorization: Bearer; without it, $MOSHI_JWT_TOKEN."),
]
MINT = Annotated[
    bool,
    typer.Option(
        "--mint", help="Mint a token for an hour with the secret that [bold]vivavoce token mint[/bold] would find."
    ),
]
DIALECT = Annotated[
    Dialect | None, typer.Option(help="The protocol; auto goes by the URL's path, and tries both without one.")
]
VAD_HEAD = Annotated[
    int | None,
    typer.Option(min=0, max=3, help="Which pause ends a turn: 0.5, 1, 2 or 3 s; the server's choice if not given."),
]
TEMPERATURE = Annotated[
    float | None,
    typer.Option(
        min=0, max=10, help="Of the sampling of text; 0 takes the likeliest, which is what the released models want."
    ),
]
SEED = Annotated[int | None, typer.Option(min=0, max=2**63 - 1, help="Of that sampling; 0 if not given.")]
GUARD = Annotated[
    Literal["flag", "drop"] | None,
    typer.Option(
        help="What becomes of words that nobody can have said, over silence or in a loop: told, and marked in JSON "
        "(flag, the default), or left out and counted (drop)."
    ),
]

KEYTERM = Annotated[
    list[str] | None,
    typer.Option(
        "--keyterm",
        metavar="TERM",
        help="A word or phrase that is likely to be said, as the model would write it; may be given many times. "
        "TERM:2 with a boost: it is begun in the place of what is up to e² times as probable; 0.5 if not given.",
    ),
]


def service(
    name: str | None, url: str | None, *, key: str | None, token: str | None, mint: bool, dialect: Dialect | None
) -> Service | None:
    """The server that the options mean, or None. Raises ServiceError, TokenError, AddressError."""
    from vivavoce.client import services, tokens
    from vivavoce.client.address import targets

    found = services.resolve(name, url, key=key, token=tokens.mint(tokens.demand()) if mint else token, dialect=dialect)
    if found is not None:
        targets(found.url, found.dialect)  # a wrong URL is said before anything begins
    return found


def demanded(found: Service | None) -> Service:
    """The service; raises BadParameter where none was named."""
    if found is None:
        raise typer.BadParameter("which server? give --url ws://host:8080 or --service NAME")
    return found


def explained(event: ClientEvent) -> str | None:
    """What has happened to the connection, in a line; None for events that are no news of it."""
    from vivavoce.client import Connected, Disconnected, Dropped, Gap, ServerError
    from vivavoce.core import Fault

    match event:
        case Disconnected(reason, _, retry_in):
            return f"no connection: {reason}; trying again in {retry_in:.1f} s"
        case Connected(resumed=True):
            return "connected again; nothing was lost"
        case Gap(start, stop):
            return f"words may be missing between {start:.1f} and {stop:.1f} s: the server could not go on"
        case ServerError(Fault.INVALID_MESSAGE, message):  # the stream goes on without it; others end the stream
            return f"the server complains: {message}"
        case Dropped(start, seconds):
            return f"{seconds:.1f} s of audio from {start:.1f} s on were thrown away: no server took them"
    return None
