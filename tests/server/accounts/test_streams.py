"""Streams of accounts on the real server: who comes in, what is counted, and what ends."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from vivavoce import audio
from vivavoce.accounts.accounts import Accounts
from vivavoce.accounts.ledger import SETTLE_SECONDS
from vivavoce.accounts.people import Account, Status
from vivavoce.bench.clip import EXAMPLE
from vivavoce.core import seconds
from vivavoce.server.credentials import COOKIES

from ...postgres import fresh_database
from ...postgres import postgres as postgres  # a fixture
from ..process import PATIENCE, Answer, Server
from .conftest import SECRET, client, signed_in

PCM = audio.load(EXAMPLE).astype("<f4").tobytes()
LENGTH = seconds(len(PCM) // 4)
PASSWORD = "hidden and otherwise good"


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('accounts')}/accounts.db"
    else:
        with fresh_database(request.getfixturevalue("postgres")) as url:
            yield url


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def server(database: str, logs: Path) -> Iterator[Server]:
    flags = ("--log-json", "--log-level", "trace", "--log-dir", str(logs), "--load-limit", "0")
    with Server(*flags, environment=environment(database) | {"VIVAVOCE_TTS_MODEL": ""}) as server:
        server.wait_ready()
        yield server


def environment(database: str) -> dict[str, str]:
    return {"VIVAVOCE_ACCOUNTS": database, "BETTER_AUTH_SECRET": SECRET, "VIVAVOCE_ACCOUNTS_ATTEMPTS": "0"}


@pytest.fixture
def accounts(server: Server, database: str) -> Iterator[Accounts]:
    with closing(Accounts(database)) as accounts:
        yield accounts


@pytest.fixture
def ada(accounts: Accounts) -> Account:
    email = f"{time.monotonic_ns()}@example.org"
    return accounts.people.create(email, PASSWORD, status=Status.APPROVED)


def used(accounts: Accounts, account: Account) -> tuple[int, float]:
    found = accounts.ledger.used(account.id)
    return sum(one.streams for one in found), sum(one.seconds for one in found)


def eventually(told: Callable[[], Any], expected: object) -> None:
    deadline = time.monotonic() + PATIENCE
    while (now := told()) != expected:
        assert time.monotonic() < deadline, now
        time.sleep(0.05)


def uri(server: Server, path: str = "/v1/stream") -> str:
    return server.url.replace("http", "ws") + path


async def refused(uri: str, headers: dict[str, str] = {}) -> tuple[int, str]:  # noqa: B006
    with pytest.raises(InvalidStatus) as caught:
        async with connect(uri, proxy=None, additional_headers=headers):
            pass
    return caught.value.response.status_code, json.loads(caught.value.response.body or b"{}").get("code")


async def said(websocket: ClientConnection, pcm: bytes = PCM) -> list[dict[str, Any]]:
    """All that a stream says to so much audio."""
    await websocket.send(pcm)
    await websocket.send(json.dumps({"type": "eos"}))
    return [json.loads(message) async for message in websocket]


async def heard(uri: str, headers: dict[str, str] = {}) -> int:  # noqa: B006
    """How many words."""
    async with connect(uri, proxy=None, additional_headers=headers) as websocket:
        pieces = [message["text"] for message in await said(websocket) if message["type"] == "token"]
    return len("".join(pieces).split())


def test_a_key_of_an_account_opens_the_server_wherever_a_key_does(
    server: Server, accounts: Accounts, ada: Account
) -> None:
    _, key = accounts.keys.create(ada)
    for query, headers in (
        ("", {"kyutai-api-key": key}),
        ("", {"authorization": f"Bearer {key}"}),
        (f"?auth_id={key}", {}),
        (f"?token={key}", {}),
    ):
        assert asyncio.run(heard(uri(server) + query, headers)) == 22
    eventually(lambda: used(accounts, ada), (4, pytest.approx(4 * LENGTH)))


def test_every_protocol_counts(server: Server, accounts: Accounts, ada: Account) -> None:
    _, key = accounts.keys.create(ada)
    headers = {"kyutai-api-key": key}
    recording = EXAMPLE.read_bytes()
    assert len(server.get("/v1/transcribe", headers, recording).json()["words"]) == 22
    assert server.get("/api/asr-streaming", headers, recording).status == 200
    eventually(lambda: used(accounts, ada), (2, pytest.approx(2 * LENGTH, abs=0.01)))
    body = json.dumps({"text": "four one five"}).encode()
    spoken = server.get("/api/tts", {**headers, "content-type": "application/json"}, body)
    assert spoken.status == 200
    length = seconds((len(spoken.body) - 44) // 2)
    assert length > 0.5
    eventually(lambda: used(accounts, ada), (3, pytest.approx(2 * LENGTH + length, abs=0.01)))
    assert server.get("/api/tts/voices", headers).status == 200
    assert used(accounts, ada)[0] == 3


def test_what_a_person_signed_in_with_opens_it_too_until_they_sign_out(
    server: Server, accounts: Accounts, ada: Account
) -> None:
    with client(server.url, {"origin": server.url}) as page:
        token = signed_in(page, ada.email, PASSWORD)["token"]
        carried = {"cookie": "; ".join(f"{name}={value}" for name, value in page.cookies.items())}
        assert set(page.cookies) == {COOKIES[1], COOKIES[3]}
        for query, headers in (("", {"authorization": f"Bearer {token}"}), (f"?token={token}", {}), ("", carried)):
            assert asyncio.run(heard(uri(server) + query, headers)) == 22
        page.post("/api/auth/sign-out")
    assert asyncio.run(refused(uri(server) + f"?token={token}")) == (401, "revoked_token")
    eventually(lambda: used(accounts, ada), (3, pytest.approx(3 * LENGTH)))
    (by_token,) = accounts.ledger.used(ada.id)
    assert by_token.key_id == ""


def test_a_refusal_says_why(server: Server, accounts: Accounts, ada: Account) -> None:
    def why(key: str, path: str = "/v1/stream") -> tuple[int, str]:
        return asyncio.run(refused(uri(server, path), {"kyutai-api-key": key}))

    (one, revoked), (_, small) = accounts.keys.create(ada), accounts.keys.create(ada, audio_seconds=0)
    accounts.keys.revoke(one.id)
    _, expired = accounts.keys.create(ada, seconds=0.001)
    _, speaks = accounts.keys.create(ada, scopes=["tts"])
    eve = accounts.people.create(f"eve-{ada.email}", PASSWORD, status=Status.APPROVED)
    _, hers = accounts.keys.create(eve)
    accounts.people.judge(eve.id, Status.REJECTED)
    assert why("vv_hidden_hidden") == (401, "invalid_key")
    assert why(revoked) == (401, "revoked_key")
    assert why(expired) == (401, "expired_key")
    assert why(speaks) == (403, "out_of_scope")
    assert why(small) == (429, "quota_exceeded")
    assert why(hers) == (403, "account_rejected")
    answer = server.get("/v1/transcribe", {"kyutai-api-key": small}, PCM)
    assert (answer.status, answer.json()["code"]) == (429, "quota_exceeded")
    assert int(answer.headers["retry-after"]) > 0
    metrics = server.get("/metrics").body.decode()
    assert 'reason="quota_exceeded"' in metrics


def test_streams_at_once_are_limited_and_come_free_at_once(server: Server, accounts: Accounts, ada: Account) -> None:
    _, key = accounts.keys.create(ada, max_streams=1)
    headers = {"kyutai-api-key": key}

    async def one_after_the_other() -> None:
        for _ in range(3):
            async with connect(uri(server), proxy=None, additional_headers=headers) as websocket:
                await websocket.recv()
                assert await refused(uri(server), headers) == (429, "too_many_streams")
                await said(websocket)

    asyncio.run(one_after_the_other())


def test_a_stream_ends_when_the_quota_is_used_up_and_is_not_to_be_tried_again(
    server: Server, accounts: Accounts, ada: Account
) -> None:
    _, key = accounts.keys.create(ada, audio_seconds=5)

    async def speak() -> tuple[dict[str, Any], int]:
        async with connect(uri(server), proxy=None, additional_headers={"kyutai-api-key": key}) as websocket:
            last: dict[str, Any] = {}
            try:
                for start in range(0, len(PCM), 96_000):
                    await websocket.send(PCM[start : start + 96_000])
                while True:
                    last = json.loads(await websocket.recv())
            except ConnectionClosed as closed:
                return last, closed.rcvd.code if closed.rcvd else 0

    last, close = asyncio.run(speak())
    assert (last["type"], last["code"], close) == ("error", "quota_exceeded", 4011)
    eventually(lambda: 4 < used(accounts, ada)[1] <= 5, True)  # whole messages: the last would have been too much


def test_a_key_that_is_revoked_ends_its_streams_within_seconds(
    server: Server, accounts: Accounts, ada: Account
) -> None:
    key, text = accounts.keys.create(ada)

    async def speak() -> str:
        async with connect(uri(server), proxy=None, additional_headers={"kyutai-api-key": text}) as websocket:
            await websocket.recv()
            accounts.keys.revoke(key.id)
            while True:
                await websocket.send(PCM[: 4 * 1920])
                try:
                    async with asyncio.timeout(0.08):
                        message = json.loads(await websocket.recv())
                except TimeoutError:
                    continue
                if message["type"] == "error":
                    return f"{message['code']}: {message['message']}"

    async def in_time() -> str:
        async with asyncio.timeout(PATIENCE):
            return await speak()

    assert asyncio.run(in_time()) == "unauthenticated: the key was revoked"


def test_a_server_that_is_killed_has_written_down_what_was_heard(
    server: Server, accounts: Accounts, ada: Account, database: str
) -> None:
    _, key = accounts.keys.create(ada, max_streams=1)
    assert SETTLE_SECONDS <= 5

    async def speak(doomed: Server) -> None:
        async with connect(uri(doomed), proxy=None, additional_headers={"kyutai-api-key": key}) as websocket:
            await websocket.send(PCM)
            while used(accounts, ada)[1] < LENGTH - 0.01:  # written down while the stream is open
                await asyncio.sleep(0.1)
            doomed.signal(signal.SIGKILL)

    with Server("--load-limit", "0", environment=environment(database)) as doomed:
        doomed.wait_ready()
        asyncio.run(asyncio.wait_for(speak(doomed), PATIENCE))
        doomed.wait()
    assert used(accounts, ada) == (1, pytest.approx(LENGTH))


def test_secrets_are_written_nowhere(server: Server, accounts: Accounts, ada: Account, logs: Path) -> None:
    """Passwords, keys, sessions, tokens, digests; good ones and wrong ones; in the log at its most talkative."""
    _, key = accounts.keys.create(ada)
    secrets = [PASSWORD, key, key.split("_", 2)[2], SECRET]
    answers: list[Answer] = []
    with client(server.url) as program:
        told = signed_in(program, ada.email, PASSWORD)
        secrets += [told["token"], told["refreshToken"], program.cookies[COOKIES[3]]]
        for path in ("sign-in/email", "sign-up/email", "change-password"):
            wish = {
                "email": ada.email,
                "password": "covert-1",
                "currentPassword": "covert-2",
                "newPassword": "covert-3",
            }
            program.post(f"/api/auth/{path}?password=covert-4", json=wish, headers={"origin": server.url})
        program.post("/api/auth/refresh", json={"refreshToken": "covert-5"}, headers={"origin": server.url})
    asyncio.run(heard(uri(server) + f"?auth_id={key}"))
    asyncio.run(refused(uri(server) + "?token=vv_covert_covert-6"))
    answers += [server.get(path) for path in ("/metrics", "/api/status", "/ready", "/")]
    written = "\n".join(
        [path.read_text() for path in logs.iterdir()] + [server.text] + [a.body.decode() for a in answers]
    )
    assert "Stream opened" in written
    assert f"key {key.split('_')[1]}" in written  # who it was is told
    with accounts.database.begin() as connection:
        secrets += connection.exec_driver_sql("SELECT password_hash FROM accounts").scalars()
        secrets += connection.exec_driver_sql("SELECT secret_hash FROM sessions").scalars()
        secrets += connection.exec_driver_sql("SELECT secret_hash FROM api_keys").scalars()
    assert not [secret for secret in secrets if secret in written]
    assert "covert" not in written


# --- what the server demands ---


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"VIVAVOCE_ACCOUNTS": "sqlite:////proc/nowhere.db"}, "cannot be written there"),
        ({"VIVAVOCE_ACCOUNTS": "postgresql://ada:hidden@127.0.0.1:1/accounts"}, "does not answer"),
        ({"VIVAVOCE_ACCOUNTS": "mysql://ada:hidden@127.0.0.1/accounts"}, "a database of accounts is"),
        ({"BETTER_AUTH_SECRET": ""}, "accounts needs jwt_secret"),
    ],
)
def test_without_what_accounts_need_it_ends_at_once_with_one_line(
    variables: dict[str, str], why: str, tmp_path: Path
) -> None:
    base = environment(f"sqlite:///{tmp_path}/accounts.db")
    with Server("--silent", environment=base | variables) as server:
        assert server.wait() != 0
    (line,) = server.lines
    assert why in line
    assert "hidden" not in line
