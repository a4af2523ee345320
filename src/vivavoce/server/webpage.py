"""The page at /: files of the package, which need no build and ask nothing of any other server."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

FOLDER = Path(__file__).with_name("page")
HEADERS = {
    "cache-control": "no-cache",  # asked again each time, answered with 304: after an update nothing is old
    "content-security-policy": "; ".join((
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "media-src 'self' blob:",  # a recording that was dropped on the page
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )),
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}  # fmt: skip
mimetypes.add_type("text/javascript", ".js")  # some machines have another mind, and browsers then refuse the module


class _Files(StaticFiles):
    def file_response(self, *arguments: Any, **options: Any) -> Response:
        response = super().file_response(*arguments, **options)
        response.headers.update(HEADERS)
        return response


_FILES = _Files(directory=FOLDER)


def index() -> Route:
    """/ is the page."""

    async def endpoint(request: Request) -> Response:
        return await _FILES.get_response("index.html", request.scope)

    return Route("/", endpoint)


def files() -> Mount:
    """What the page is made of, and with it the JavaScript client: /page/vivavoce.js."""
    return Mount("/page", _FILES)
