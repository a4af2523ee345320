"""/api/auth: sign-up, sign-in and what belongs to a session, as Better Auth's clients ask for it."""

from __future__ import annotations

import asyncio

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from vivavoce.accounts.errors import AccountsError
from vivavoce.accounts.people import Account, Status
from vivavoce.accounts.tokens import session_claims, user_claims

from . import cookies
from .desk import Desk, address, from_page


class SignUp(msgspec.Struct):
    """Body of sign-up/email."""

    email: str
    password: str
    name: str = ""


class SignIn(msgspec.Struct, rename="camel"):
    """Body of sign-in/email."""

    email: str
    password: str
    remember_me: bool = True


class Refresh(msgspec.Struct, rename="camel"):
    """Body of refresh."""

    refresh_token: str


class ChangePassword(msgspec.Struct, rename="camel"):
    """Body of change-password."""

    current_password: str
    new_password: str


def routes(desk: Desk) -> list[BaseRoute]:
    """All of them."""
    people, sessions, settings = desk.accounts.people, desk.accounts.sessions, desk.settings

    async def sign_up(request: Request) -> Response:
        wish = await desk.wish(request, SignUp)
        if not settings.accounts_sign_up:
            raise AccountsError("sign_up_closed", "accounts are made by the administrator of this server", 403)
        desk.attempt(request)
        status = Status.PENDING if settings.accounts_approval else Status.APPROVED
        account = await desk.with_password(people.sign_up, wish.email, wish.password, wish.name, status)
        return JSONResponse({"token": None, "user": user_claims(account)})

    async def sign_in(request: Request) -> Response:
        wish = await desk.wish(request, SignIn)
        desk.attempt(request, wish.email)
        account = await desk.with_password(people.with_password, wish.email, wish.password)
        agent = request.headers.get("user-agent", "")
        seconds = settings.accounts_session_seconds
        session, secret = await asyncio.to_thread(sessions.begin, account, seconds, address(request), agent)
        if (old := cookies.session_secret(request)) and (before := await asyncio.to_thread(sessions.find, old)):
            await asyncio.to_thread(sessions.end, before[0].id)
        token = desk.token(session, account)
        answer = _tokens(request, token, account, secret)
        kept = seconds if wish.remember_me else None
        cookies.keep(request, answer, (token, settings.accounts_token_seconds), (secret, kept))
        return answer

    async def get_session(request: Request) -> Response:
        found = await desk.find(request)
        if found is None:
            answer = JSONResponse(None)
            if cookies.session_secret(request):
                cookies.forget(request, answer)
            return answer
        session, account = found
        answer = JSONResponse({"session": session_claims(session), "user": user_claims(account)})
        if cookies.session_secret(request):
            cookies.keep(request, answer, (desk.token(session, account), settings.accounts_token_seconds), None)
        return answer

    async def token(request: Request) -> Response:
        session, account = await desk.signed_in(request)
        fresh = desk.token(session, account)
        answer = JSONResponse({"token": fresh})
        if cookies.session_secret(request):
            cookies.keep(request, answer, (fresh, settings.accounts_token_seconds), None)
        return answer

    async def refresh(request: Request) -> Response:
        wish = await desk.wish(request, Refresh)
        session, account, secret = await asyncio.to_thread(sessions.refresh, wish.refresh_token)
        return _tokens(request, desk.token(session, account), account, secret)

    async def sign_out(request: Request) -> Response:
        if found := await desk.find(request):
            await asyncio.to_thread(sessions.end, found[0].id)
        answer = JSONResponse({"success": True})
        cookies.forget(request, answer)
        return answer

    async def revoke_sessions(request: Request) -> Response:
        session, account = await desk.signed_in(request)
        await asyncio.to_thread(sessions.end_all, account.id, session.id)
        return JSONResponse({"status": True})

    async def change_password(request: Request) -> Response:
        wish = await desk.wish(request, ChangePassword)
        session, account = await desk.signed_in(request)
        desk.attempt(request, account.email)
        await desk.with_password(people.change_password, account, wish.current_password, wish.new_password)
        await asyncio.to_thread(sessions.end_all, account.id, session.id)
        return JSONResponse({"status": True})

    posts = {
        "sign-up/email": sign_up, "sign-in/email": sign_in, "sign-out": sign_out, "refresh": refresh,
        "revoke-other-sessions": revoke_sessions, "change-password": change_password,
    }  # fmt: skip
    return [
        *(Route(f"/api/auth/{path}", desk.route(endpoint), methods=["POST"]) for path, endpoint in posts.items()),
        Route("/api/auth/get-session", desk.route(get_session)),
        Route("/api/auth/token", desk.route(token)),
    ]


def _tokens(request: Request, token: str, account: Account, secret: str) -> JSONResponse:
    """A page has the session's secret in a cookie, where no script sees it; a program has it here."""
    told = {"redirect": False, "token": token, "user": user_claims(account)}
    return JSONResponse(told if from_page(request) else told | {"refreshToken": secret})
