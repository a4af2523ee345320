"""Accounts in the server's process, or in one of their own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from vivavoce.accounts import open_accounts
from vivavoce.accounts.accounts import Accounts
from vivavoce.core import ExitCode
from vivavoce.settings import ServeSettings

from .. import logs
from ..cors import cross_origin
from ..edge import Edge
from ..errors import http_error
from ..listen import check_certificate, listen, url
from ..secret import judge_secret
from ..wire import Server, uvicorn_config
from . import admin, keys, sign_in
from .desk import Desk

logger = logging.getLogger(__name__)


def opened(settings: ServeSettings) -> Accounts:
    """The settings' accounts, with a schema that is up to date. Raises VivavoceError."""
    assert settings.accounts
    accounts = open_accounts(settings.accounts.get_secret_value())
    before, after = accounts.database.migrate()
    if before != after:
        logger.info("The database of accounts has the schema %s now, it had %s", after, before or "none")
    return accounts


def routes(accounts: Accounts, settings: ServeSettings) -> list[BaseRoute]:
    """All routes of accounts."""
    desk = Desk(accounts, settings)
    return [*sign_in.routes(desk), *keys.routes(desk), *admin.routes(desk)]


def serve(settings: ServeSettings) -> int:
    """Accounts alone, for servers of streams elsewhere that have their secret, or their database; until a signal.

    Returns the exit code. Raises VivavoceError when it cannot listen or has no database.
    """
    settings.demand_accounts()
    check_certificate(settings)
    with contextlib.ExitStack() as cleanup:
        listener = cleanup.enter_context(listen(settings))
        logs.set_up(settings)
        judge_secret(settings)
        accounts = opened(settings)
        cleanup.callback(accounts.close)
        server = Server(uvicorn_config(settings, alone(accounts, settings)))

        async def run() -> None:
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, lambda: setattr(server, "should_exit", True))
            logger.info("Listening on %s", url(settings, listener))
            await server.serve(sockets=[listener])

        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(run())
    return ExitCode.OK


def alone(accounts: Accounts, settings: ServeSettings) -> Starlette:
    """The application of accounts without streams."""

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    found = [*routes(accounts, settings), Route("/health", health)]
    return Starlette(
        routes=found,
        middleware=[Middleware(Edge, settings.limits), *cross_origin(settings)],
        exception_handlers={HTTPException: http_error},
    )
