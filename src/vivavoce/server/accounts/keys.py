"""/api/keys and /api/usage: what an account makes of itself for its programs, and what they have used."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from vivavoce.accounts.keys import SCOPES, Key
from vivavoce.accounts.ledger import Used
from vivavoce.accounts.tokens import iso

from .desk import Desk


class NewKey(msgspec.Struct, rename="camel"):
    """Body of POST /api/keys."""

    name: str = ""
    scopes: list[str] = msgspec.field(default_factory=lambda: list(SCOPES))
    expires_in: float | None = None  # seconds
    max_streams: int | None = None
    audio_seconds: float | None = None


def routes(desk: Desk) -> list[BaseRoute]:
    """All of them; each sees the account's own keys alone."""
    keys, ledger = desk.accounts.keys, desk.accounts.ledger

    async def every(request: Request) -> Response:
        _, account = await desk.signed_in(request)
        found = await asyncio.to_thread(keys.all, account.id)
        return JSONResponse({"keys": [key_told(key) for key in found]})

    async def create(request: Request) -> Response:
        wish = await desk.wish(request, NewKey)
        _, account = await desk.signed_in(request)
        limits = (wish.expires_in, wish.max_streams, wish.audio_seconds)
        key, text = await asyncio.to_thread(keys.create, account, wish.name, wish.scopes, *limits)
        return JSONResponse({**key_told(key), "key": text}, 201)

    async def revoke(request: Request) -> Response:
        _, account = await desk.signed_in(request)
        key = await asyncio.to_thread(keys.revoke, request.path_params["id"], account.id)
        return JSONResponse(key_told(key))

    async def usage(request: Request) -> Response:
        _, account = await desk.signed_in(request)
        key = request.query_params.get("key")
        found = await asyncio.to_thread(ledger.used, account.id, key)
        return JSONResponse(usage_told(found, ledger.month()))

    return [
        Route("/api/keys", desk.route(every)),
        Route("/api/keys", desk.route(create), methods=["POST"]),
        Route("/api/keys/{id}/revoke", desk.route(revoke), methods=["POST"]),
        Route("/api/usage", desk.route(usage)),
    ]


def key_told(key: Key) -> dict[str, Any]:
    """As answers show a key."""
    return {
        "id": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "maxStreams": key.max_streams,
        "audioSeconds": key.audio_seconds,
        "createdAt": iso(key.created_at),
        "expiresAt": None if key.expires_at is None else iso(key.expires_at),
        "revokedAt": None if key.revoked_at is None else iso(key.revoked_at),
    }


def usage_told(found: list[Used], month: int) -> dict[str, Any]:
    """By day and key, and the sums of this month, by which quotas are judged."""
    now = [used for used in found if used.day >= month]
    return {
        "month": {"streams": sum(used.streams for used in now), "seconds": round(sum(used.seconds for used in now), 3)},
        "days": [
            {"day": dashed(used.day), "key": used.key_id, "streams": used.streams, "seconds": round(used.seconds, 3)}
            for used in found
        ],
    }


def dashed(day: int) -> str:
    return f"{day // 10_000}-{day // 100 % 100:02}-{day % 100:02}"
