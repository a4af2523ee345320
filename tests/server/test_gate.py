"""Who comes in: every place of a secret, their precedence, and what a token must hold."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from starlette.requests import HTTPConnection

from vivavoce.core import Fault, Refused, StreamError
from vivavoce.server.gate import Admitted, Gate
from vivavoce.settings import ServeSettings

SECRET = "a secret of the account service, long enough for every algorithm of its family"
KEYED = {"api_keys": ("first key", "second key")}
TOKENS = {"jwt_secret": SECRET}
MODAL = {"modal_headers": True, "modal_key": "modal key", "modal_secret": "modal secret"}


def nobody(reason: str) -> None:
    """Counts nothing."""


def connection(
    headers: dict[str, str] = {},  # noqa: B006
    query: dict[str, str] = {},  # noqa: B006
    client: str = "192.0.2.1",
) -> HTTPConnection:
    return HTTPConnection({
        "type": "http", "path": "/", "client": (client, 1234), "query_string": urlencode(query).encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
    })  # fmt: skip


async def admitted(settings: dict[str, Any], *arguments: Any, **options: Any) -> Admitted:
    gate = Gate(ServeSettings(addr="0.0.0.0", **settings), nobody)
    return await gate.admit(connection(*arguments, **options), "stt")


def who(settings: dict[str, Any], *arguments: Any, **options: Any) -> str:
    return run(admitted(settings, *arguments, **options)).who


def refusal(settings: dict[str, Any], *arguments: Any, **options: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        run(admitted(settings, *arguments, **options))
    return caught.value


def run(coroutine: Any) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as result:
        return result.value
    raise AssertionError("the gate waited")  # admission is one turn of the event loop: nobody slips in between


def in_an_hour(**shift: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=1, **shift)).isoformat().replace("+00:00", "Z")


def claims(**changes: Any) -> dict[str, Any]:
    session = {
        "id": "s",
        "userId": "u",
        "createdAt": in_an_hour(),
        "updatedAt": in_an_hour(),
        "expiresAt": in_an_hour(),
    }
    return {"session": session, "user": {"id": "u"}, "exp": time.time() + 3600, **changes}


def token(secret: str = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    return jwt.encode(claims(**changes), secret, algorithm)


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def cookie(text: str) -> dict[str, str]:
    return {"Cookie": f"theme=dark; better-auth.session_token={text}"}


def test_without_any_secret_set_everyone_comes_in() -> None:
    assert who({"no_auth": True}, {"kyutai-api-key": "whatever"}) == "anyone"


def test_no_auth_opens_a_server_that_has_keys() -> None:
    assert who({**KEYED, "no_auth": True}) == "anyone"


@pytest.mark.parametrize(
    ("settings", "headers", "query", "name"),
    [
        (KEYED, {"kyutai-api-key": "first key"}, {}, "key 1"),
        (KEYED, {"Kyutai-Api-Key": "second key"}, {}, "key 2"),
        (KEYED, {}, {"auth_id": "second key"}, "key 2"),
        (KEYED, bearer("first key"), {}, "key 1"),
        (TOKENS, bearer(token()), {}, "user u"),
        (TOKENS, {}, {"token": token()}, "user u"),
        (TOKENS, cookie(token()), {}, "user u"),
        (MODAL, {"Modal-Key": "modal key", "Modal-Secret": "modal secret"}, {}, "modal"),
        ({**KEYED, **TOKENS}, bearer(token()), {}, "user u"),
        ({**KEYED, **TOKENS}, bearer("second key"), {}, "key 2"),
        ({**KEYED, **TOKENS}, {}, {"token": token()}, "user u"),
        # places that the server is not set up for are not looked at
        (TOKENS, {"kyutai-api-key": "public_token"}, {"token": token()}, "user u"),
        (KEYED, cookie("anything"), {"auth_id": "first key"}, "key 1"),
        (KEYED, {"Modal-Key": "x", "Modal-Secret": "y"}, {"auth_id": "first key"}, "key 1"),
        (KEYED, {"Authorization": "Basic eDp5"}, {"auth_id": "first key"}, "key 1"),
    ],
)
def test_a_secret_in_its_place_opens(
    settings: dict[str, Any], headers: dict[str, str], query: dict[str, str], name: str
) -> None:
    assert who(settings, headers, query) == name


@pytest.mark.parametrize(
    ("settings", "headers", "query"),
    [
        (KEYED, {"kyutai-api-key": "wrong"}, {"auth_id": "first key"}),
        (KEYED, {"kyutai-api-key": ""}, {"auth_id": "first key"}),
        (KEYED, {"kyutai-api-key": "wr\xf6ng"}, {"auth_id": "first key"}),
        (KEYED, {"kyutai-api-key": "wrong", **bearer("first key")}, {}),
        (KEYED, bearer("wrong"), {"auth_id": "first key"}),
        (TOKENS, bearer("wrong"), {"token": token()}),
        (TOKENS, cookie(token()), {"token": "wrong"}),
        ({**KEYED, **TOKENS}, {}, {"auth_id": "wrong", "token": token()}),
        ({**KEYED, **TOKENS}, {"kyutai-api-key": "wrong", **bearer(token())}, {}),
        ({**MODAL, **KEYED}, {"Modal-Key": "modal key", "Modal-Secret": "wrong"}, {"auth_id": "first key"}),
        ({**MODAL, **KEYED}, {"Modal-Key": "modal key"}, {"auth_id": "first key"}),
    ],
)
def test_the_first_secret_decides_even_when_a_later_one_is_good(
    settings: dict[str, Any], headers: dict[str, str], query: dict[str, str]
) -> None:
    assert refusal(settings, headers, query).fault is Fault.UNAUTHENTICATED


@pytest.mark.parametrize("settings", [KEYED, TOKENS, MODAL])
def test_no_secret_at_all_is_refused_with_a_hint_where_to_put_it(settings: dict[str, Any]) -> None:
    error = refusal(settings)
    assert error.fault is Fault.UNAUTHENTICATED
    assert error.code == "missing_credentials"
    assert error.hint.startswith("give it in one of: ")


def test_a_wrong_length_or_part_of_a_key_does_not_open() -> None:
    for key in ("first ke", "first key ", "first keyfirst key", "FIRST KEY", ""):
        assert refusal(KEYED, {}, {"auth_id": key}).code == "invalid_key"


def unsigned() -> str:
    parts = ({"alg": "none", "typ": "JWT"}, claims())
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


def tampered() -> str:
    head, _, signature = token().split(".")
    body = base64.urlsafe_b64encode(json.dumps(claims(user={"id": "admin"})).encode()).decode().rstrip("=")
    return f"{head}.{body}.{signature}"


def session(**changes: Any) -> dict[str, Any]:
    return {**claims()["session"], **changes}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (unsigned(), "jwt_validation_failed"),
        (tampered(), "jwt_validation_failed"),
        (token("another secret, of the same good length"), "jwt_validation_failed"),
        (token(algorithm="HS512"), "jwt_validation_failed"),
        ("not a token", "jwt_validation_failed"),
        ("a.b.c", "jwt_validation_failed"),
        (token(session=None), "jwt_validation_failed"),
        (token(session="s"), "jwt_validation_failed"),
        (token(user=None), "jwt_validation_failed"),
        (token(user={}), "jwt_validation_failed"),
        *[
            (token(session={k: v for k, v in session().items() if k != key}), "jwt_validation_failed")
            for key in session()
        ],
        (token(nbf=time.time() + 86_400), "jwt_validation_failed"),
        (token(exp=time.time() - 1), "expired_token"),
        (token(exp=0), "expired_token"),
        (token(exp="never"), "expired_token"),
        (token(exp=True), "expired_token"),
        (token(session=session(expiresAt=in_an_hour(minutes=-61))), "expired_token"),
        (token(session=session(expiresAt="tomorrow")), "expired_token"),
        (token(session=session(expiresAt="2999-01-01")), "expired_token"),  # no time, no zone: not RFC 3339
        (token(session=session(expiresAt="")), "expired_token"),
    ],
)
def test_a_bad_token_is_refused_and_not_repeated(text: str, code: str) -> None:
    error = refusal(TOKENS, bearer(text))
    assert (error.fault, error.code) == (Fault.UNAUTHENTICATED, code)
    assert error.__cause__ is None
    assert SECRET not in str(error) + error.hint and text not in str(error) + error.hint


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("pending", "pending_approval"),
        ("rejected", "account_rejected"),
        ("x", "account_rejected"),
        (1, "account_rejected"),
    ],
)
def test_an_account_that_is_not_approved_is_forbidden(status: object, code: str) -> None:
    error = refusal(TOKENS, bearer(token(user={"id": "u", "status": status})))
    assert (error.fault, error.code, error.fault.status) == (Fault.FORBIDDEN, code, 403)


@pytest.mark.parametrize(
    "changes",
    [
        {"user": {"id": "u", "status": "approved"}},
        {"user": {"id": "u", "status": None}},
        {"aud": "somewhere", "iss": "someone", "iat": time.time() + 5, "sub": 5},
        {"session": session(expiresAt=in_an_hour().replace("Z", "-02:00"), token="t", ipAddress="::1")},
    ],
)
def test_what_a_good_token_may_hold_besides(changes: dict[str, Any]) -> None:
    assert who(TOKENS, bearer(token(**changes))) == "user u"


def test_a_token_without_exp_is_held_to_its_session() -> None:
    without = claims()
    del without["exp"]
    assert who(TOKENS, bearer(jwt.encode(without, SECRET, "HS256"))) == "user u"


def test_expiry_is_exact_to_the_clock() -> None:
    now = time.time()
    text = token(exp=now + 10)
    for clock, good in [(now + 9.9, True), (now + 10, False)]:
        gate = Gate(ServeSettings(addr="0.0.0.0", **TOKENS), nobody, wall_clock=lambda at=clock: at)
        if good:
            assert run(gate.admit(connection(bearer(text)), "stt")).who == "user u"
        else:
            with pytest.raises(Refused):
                run(gate.admit(connection(bearer(text)), "stt"))


# --- pages of a browser ---


@pytest.mark.parametrize(
    ("settings", "host", "origin", "good"),
    [
        ({"no_auth": True}, "example.org", "https://example.org", True),
        ({"no_auth": True}, "example.org:8080", "http://example.org:8080", True),
        ({"no_auth": True}, "example.org", "https://evil.org", False),
        ({"no_auth": True}, "example.org:8080", "http://example.org", False),
        ({"no_auth": True}, "example.org", "null", False),
        ({"no_auth": True}, "", "null", False),
        ({"no_auth": True}, "[::1]:8080", "http://[::1]:8080", True),
        ({"no_auth": True}, "example.org", "http://[::1", False),
        ({"no_auth": True, "origins": ("https://friend.org",)}, "example.org", "https://friend.org", True),
        ({"no_auth": True, "origins": ("https://friend.org",)}, "example.org", "https://friend.org.evil.org", False),
        ({"no_auth": True, "origins": ("*",)}, "example.org", "https://evil.org", True),
        # a name that points at 127.0.0.1 is no proof of being local
        ({"addr": "127.0.0.1"}, "evil.org:8080", "http://evil.org:8080", False),
        ({"addr": "127.0.0.1"}, "localhost:8080", "http://localhost:8080", True),
        ({"addr": "127.0.0.1"}, "127.0.0.1:8080", "http://127.0.0.1:8080", True),
        ({"addr": "127.0.0.1"}, "localhost:8080", "http://localhost:3000", False),
        ({"addr": "127.0.0.1", **KEYED}, "proxied.org", "https://proxied.org", True),
    ],
)
def test_only_known_pages_may_use_the_server(settings: dict[str, Any], host: str, origin: str, good: bool) -> None:
    gate = Gate(ServeSettings(**{"addr": "0.0.0.0", **settings}), nobody)
    caller = connection({"Host": host, "Origin": origin, "kyutai-api-key": "first key"})
    if good:
        run(gate.admit(caller, "stt"))
    else:
        with pytest.raises(Refused) as caught:
            run(gate.admit(caller, "stt"))
        assert (caught.value.fault, caught.value.code) == (Fault.FORBIDDEN, "origin_not_allowed")


# --- how many, how much ---


def test_connections_of_a_key_are_limited_and_come_free() -> None:
    gate = Gate(ServeSettings(addr="0.0.0.0", connections_per_key=2, **KEYED), nobody)
    first = connection({"kyutai-api-key": "first key"})
    with run(gate.admit(first, "stt")):
        with run(gate.admit(first, "stt")):
            with pytest.raises(Refused) as caught:
                run(gate.admit(first, "stt"))
            assert (caught.value.fault, caught.value.code) == (Fault.RATE_LIMITED, "connections_per_key")
            assert caught.value.retry_after is not None
            with run(gate.admit(connection({"kyutai-api-key": "second key"}), "stt")):
                pass
        with run(gate.admit(first, "stt")):
            pass


@pytest.mark.parametrize(
    ("other", "shared"),
    [("192.0.2.1", True), ("192.0.2.2", False), ("::ffff:192.0.2.1", True)],
)
def test_connections_of_an_address_are_limited(other: str, shared: bool) -> None:
    gate = Gate(ServeSettings(addr="0.0.0.0", no_auth=True, connections_per_address=1), nobody)
    with run(gate.admit(connection(), "stt")):
        if shared:
            with pytest.raises(Refused, match="1 connections are open from this address"):
                run(gate.admit(connection(client=other), "stt"))
        else:
            run(gate.admit(connection(client=other), "stt"))


def test_an_ipv6_host_is_counted_by_its_network() -> None:
    gate = Gate(ServeSettings(addr="0.0.0.0", no_auth=True, connections_per_address=1), nobody)
    with run(gate.admit(connection(client="2001:db8::1"), "stt")):
        with pytest.raises(Refused):
            run(gate.admit(connection(client="2001:db8::2"), "stt"))
        run(gate.admit(connection(client="2001:db8:0:1::1"), "stt"))


def test_a_seat_is_left_when_the_stream_fails() -> None:
    gate = Gate(ServeSettings(addr="0.0.0.0", no_auth=True, connections_per_address=1), nobody)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), run(gate.admit(connection(), "stt")):
            raise ZeroDivisionError


def test_small_messages_are_limited_by_a_bucket_and_large_ones_are_not() -> None:
    now = 0.0
    settings = ServeSettings(addr="0.0.0.0", no_auth=True, messages_per_second=10)
    refused: list[str] = []
    gate = Gate(settings, refused.append, clock=lambda: now)
    one = run(gate.admit(connection(), "stt"))
    for _ in range(100):
        one.message(10)
    with pytest.raises(StreamError, match="more than 10 small messages a second") as caught:
        one.message(10)
    assert caught.value.fault is Fault.RATE_LIMITED
    for _ in range(1000):
        one.message(9619)
    now = 0.5
    for _ in range(5):
        one.message(10)
    with pytest.raises(StreamError):
        one.message(10)
    assert refused == ["rate_limited"] * 2


def test_no_message_rate_means_no_limit() -> None:
    one = run(admitted({"no_auth": True, "messages_per_second": 0}))
    for _ in range(10_000):
        one.message(1)


def test_a_message_over_the_limit_is_too_large() -> None:
    one = run(admitted({"no_auth": True, "message_bytes": 1000}))
    one.message(1000)
    with pytest.raises(StreamError, match="1001 bytes; the limit is 1000") as caught:
        one.message(1001)
    assert caught.value.fault is Fault.TOO_LARGE


def test_every_refusal_is_counted_by_its_reason() -> None:
    refused: list[str] = []
    gate = Gate(ServeSettings(addr="0.0.0.0", connections_per_key=1, **KEYED, **TOKENS), refused.append)
    bad = [
        connection(),
        connection({"kyutai-api-key": "x"}),
        connection(bearer("x")),
        connection({"Origin": "http://x"}),
    ]
    good = connection({"kyutai-api-key": "first key"})
    with run(gate.admit(good, "stt")):
        for caller in [*bad, good]:
            with pytest.raises(Refused):
                run(gate.admit(caller, "stt"))
    assert refused == [
        "missing_credentials", "invalid_key", "jwt_validation_failed", "origin_not_allowed", "connections_per_key",
    ]  # fmt: skip
