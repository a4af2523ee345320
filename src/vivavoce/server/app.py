"""The ASGI application: every route of the server, and what stands around all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from vivavoce.runtime import AnyRuntime, Metrics, Runtime, SpeechRuntime
from vivavoce.settings import ServeSettings, SpeechModule

from . import webpage
from .cors import cross_origin
from .dialects import deepgram, gradium, moshi, openai, speech, stream
from .dialects.choice import Hearing, Offer, Speaking
from .edge import Edge
from .errors import http_answer, http_error
from .gate import Gate
from .office import Office
from .status import Status, build_info, stream_paths

if TYPE_CHECKING:
    from vivavoce.accounts.accounts import Accounts
    from vivavoce.accounts.meter import Meter


def create_app(
    settings: ServeSettings,
    runtimes: Mapping[str, AnyRuntime],
    metrics: Metrics,
    accounts: Accounts | None = None,
    office: Office | None = None,
) -> Starlette:
    """The application over runtimes that were started elsewhere, one for each module of the settings, by its label.

    `metrics` are those of the runtimes, `accounts` those of the settings; a worker has an `office`.
    `app.state.status` is its account of itself; setting `.draining` there turns /ready to 503. `app.state.meter` is to
    be run where there are accounts.
    """
    status = Status(settings, runtimes)
    meter, routes = _accounts(accounts, settings)
    seats = office.seats if office else None
    gate = Gate(settings, lambda reason: metrics.refusals.labels("", reason).inc(), accounts=meter, seats=seats)
    routes += _information(status, metrics.registry, office)
    hearing: list[Hearing] = []
    speaking: list[Speaking] = []
    for module in settings.served:
        runtime = runtimes[module.label]
        routes.append(Route(f"{module.path}/health", _path_health))
        if isinstance(module, SpeechModule):
            assert isinstance(runtime, SpeechRuntime)
            routes += speech.routes(module, runtime, gate, settings)
            speaking.append(Offer(module, runtime))
        else:
            assert isinstance(runtime, Runtime)
            routes += moshi.routes(module, runtime, gate, settings)
            routes += stream.routes(module, runtime, gate, settings)
            hearing.append(Offer(module, runtime))
    routes += openai.routes(hearing, speaking, gate, settings)
    routes += deepgram.routes(hearing, speaking, gate, settings)
    routes += gradium.routes(hearing, speaking, gate, settings)
    routes += [Route(route.path, _upgrade, methods=["GET"]) for route in routes if isinstance(route, WebSocketRoute)]
    routes += [WebSocketRoute("/{path:path}", _no_stream(settings)), *_root(settings)]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Edge, settings.limits), *cross_origin(settings)],
        exception_handlers={HTTPException: http_error},
    )
    app.state.status, app.state.gate, app.state.meter = status, gate, meter
    app.state.hearing, app.state.speaking = hearing, speaking
    return app


def _accounts(accounts: Accounts | None, settings: ServeSettings) -> tuple[Meter | None, list[BaseRoute]]:
    if accounts is None:
        return None, []
    from vivavoce.accounts.meter import Meter

    from .accounts.serving import routes

    return Meter(accounts.ledger, accounts.clock), routes(accounts, settings)


def _information(status: Status, registry: CollectorRegistry, office: Office | None) -> list[BaseRoute]:
    async def ready(_: Request) -> Response:
        body = status.ready()
        return JSONResponse(body, 200 if body["status"] == "ready" else 503, {"cache-control": "no-store"})

    async def metrics(_: Request) -> Response:
        text = await office.metrics() if office else generate_latest(registry)
        return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)

    async def whole(_: Request) -> Response:
        return JSONResponse(status.status() | ({"workers": await office.workers()} if office else {}))

    return [
        Route("/ready", ready),
        Route("/health", _tells(status.health)),
        Route("/api/health", _tells(status.health)),
        Route("/api/status", whole),
        Route("/api/modules_info", _tells(status.modules_info)),
        Route("/api/build_info", _tells(build_info)),
        Route("/metrics", metrics),
    ]


def _tells(account: Callable[[], object]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(_: Request) -> Response:
        return JSONResponse(account())

    return endpoint


async def _path_health(_: Request) -> Response:
    return Response()


async def _upgrade(request: Request) -> Response:
    detail = f"{request.url.path} is the path of a websocket: connect to it with ws:// or wss://"
    return http_answer(HTTPException(426, detail, {"upgrade": "websocket"}))


def _no_stream(settings: ServeSettings) -> Callable[[WebSocket], Awaitable[None]]:
    """The answer to a handshake at another path; without it that would be 403, as if a key were wrong."""
    error = HTTPException(404, f"no stream is at this path; there are {', '.join(stream_paths(settings))}")

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.send_denial_response(http_answer(error))

    return endpoint


def _root(settings: ServeSettings) -> list[BaseRoute]:
    """The page; or the files of static_dir with their index.html, beside which the page's own stay importable."""
    if settings.static_dir and settings.static_dir.is_dir():
        return [webpage.files(), Mount("/", StaticFiles(directory=settings.static_dir, html=True))]
    return [webpage.index(), webpage.files()]
