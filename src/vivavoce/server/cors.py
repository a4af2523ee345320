"""What browsers are told of pages of other origins that may use this server."""

from __future__ import annotations

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from vivavoce.settings import ServeSettings
from vivavoce.settings.origins import EVERYONE

_HEADERS = ["authorization", "content-type", "kyutai-api-key", "modal-key", "modal-secret", "x-api-key", "x-request-id"]


def cross_origin(settings: ServeSettings) -> list[Middleware]:
    """Nothing where no origin is set. Cookies of accounts may come along from origins that are named."""
    if not settings.origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST"],
            allow_headers=_HEADERS,
            expose_headers=["retry-after", "x-request-id"],
            allow_credentials=settings.accounts is not None and EVERYONE not in settings.origins,
        )
    ]
