"""/api/admin/accounts: who waits, and what becomes of them."""

from __future__ import annotations

import asyncio
import logging

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from vivavoce.accounts.errors import AccountsError
from vivavoce.accounts.people import Account, Status
from vivavoce.accounts.tokens import user_claims

from .desk import Desk, Endpoint

logger = logging.getLogger(__name__)


class Limit(msgspec.Struct, rename="camel"):
    """Body of limit; null: no limit."""

    max_streams: int | None = None
    audio_seconds: float | None = None


def routes(desk: Desk) -> list[BaseRoute]:
    """All of them; for administrators."""
    people = desk.accounts.people

    async def every(request: Request) -> Response:
        await desk.administrator(request)
        wanted = request.query_params.get("status")
        if wanted is not None and wanted not in set(Status):
            raise AccountsError("invalid_status", f"a status is one of {', '.join(Status)}")
        found = await asyncio.to_thread(people.all, None if wanted is None else Status(wanted))
        return JSONResponse({"accounts": [account_told(account) for account in found]})

    def judge(status: Status) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            judge = await desk.administrator(request)
            account = await asyncio.to_thread(people.judge, request.path_params["id"], status)
            logger.info("Account %s was %s by %s", account.id, status, judge.id)
            return JSONResponse(account_told(account))

        return endpoint

    async def limit(request: Request) -> Response:
        wish = await desk.wish(request, Limit)
        await desk.administrator(request)
        limits = (wish.max_streams, wish.audio_seconds)
        account = await asyncio.to_thread(people.limit, request.path_params["id"], *limits)
        return JSONResponse(account_told(account))

    posts = {"approve": judge(Status.APPROVED), "reject": judge(Status.REJECTED), "limit": limit}
    one = "/api/admin/accounts/{id}"
    return [
        Route("/api/admin/accounts", desk.route(every)),
        *(Route(f"{one}/{name}", desk.route(endpoint), methods=["POST"]) for name, endpoint in posts.items()),
    ]


def account_told(account: Account) -> dict[str, object]:
    """As administrators see it."""
    return user_claims(account) | {"maxStreams": account.max_streams, "audioSeconds": account.audio_seconds}
