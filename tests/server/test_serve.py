"""`vivavoce serve` as a process: it listens at once, says what is wrong in one line, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from vivavoce import audio

from .process import PATIENCE, Server, fetch

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits.flac"
MOSHI_READY = bytes.fromhex("81a474797065a55265616479")


def complaint(server: Server) -> str:
    """The one line of a server that did not start."""
    [line] = [line for line in server.lines if line.startswith("vivavoce: ")]
    assert "Traceback" not in server.text
    return line.removeprefix("vivavoce: ")


# --- what keeps it from starting ---


def test_a_port_that_is_taken_is_said_before_anything_is_loaded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Server("--port", str(port)) as server:
            assert server.wait() == 1
    assert server.lines == [f"vivavoce: cannot listen on 127.0.0.1 port {port}: address already in use"]


def test_an_address_of_another_machine_is_said() -> None:
    with Server("--addr", "192.0.2.1", "--no-auth") as server:
        assert server.wait() == 1
    assert server.lines == ["vivavoce: cannot listen on 192.0.2.1 port 0: cannot assign requested address"]


def test_an_open_door_to_other_machines_is_demanded_in_words() -> None:
    with Server("--addr", "0.0.0.0") as server:
        assert server.wait() == 2
    assert "0.0.0.0" in complaint(server)


def test_a_model_that_cannot_be_loaded_ends_the_process_with_its_line_and_code(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with Server("--model", str(tmp_path)) as server:
        assert server.wait() == 5
    assert str(tmp_path) in complaint(server)
    assert not children_of(server)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    alternative = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command.split(), *alternative, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


@pytest.mark.parametrize("broken", ["missing", "garbage", "another's key"])
def test_a_certificate_that_is_no_good_is_one_line(broken: str, certificate: tuple[Path, Path], tmp_path: Path) -> None:
    cert, key = certificate
    if broken == "missing":
        cert = tmp_path / "nowhere.pem"
    elif broken == "garbage":
        cert = tmp_path / "garbage.pem"
        cert.write_text("no certificate")
    else:
        key = tmp_path / "other.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True, capture_output=True)
    with Server("--tls-cert", str(cert), "--tls-key", str(key)) as server:
        assert server.wait() == 1
    assert str(cert) in complaint(server)
    assert len(server.lines) == 1


# --- while it runs ---


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with Server("--slots", "2") as server:
        server.wait_ready()
        yield server


def test_it_listens_at_once_and_says_that_it_loads() -> None:
    with Server("--slots", "1") as server:
        early, alive = server.get("/ready"), server.get("/health")
        assert (early.status, early.json()["status"]) == (503, "loading")
        assert early.json()["modules"] == {"stt": {"state": "loading"}}
        assert (alive.status, alive.json()["status"]) == (200, "ok")
        assert server.get("/api/status").json()["status"] == "degraded"
        server.wait_ready()
        assert server.get("/ready").json() == {"status": "ready", "modules": {"stt": {"state": "ready"}}}
        assert server.get("/ready").status == 200


def test_the_server_process_has_no_torch(running: Server) -> None:
    maps = Path(f"/proc/{running.process.pid}/maps")
    if not maps.exists():
        pytest.skip("needs /proc")
    assert "libtorch" not in maps.read_text()


def test_the_accounts_of_itself(running: Server) -> None:
    assert set(running.get("/api/health").json()) == {"status", "uptime_seconds"}
    assert all(isinstance(value, str) for value in running.get("/api/build_info").json().values())
    [module] = running.get("/api/modules_info").json()
    assert isinstance(module.pop("lm"), str) and isinstance(module.pop("audio_tokenizer"), str)
    assert module == {"type": "batched_asr", "path": "/api/asr-streaming", "used_slots": "0", "total_slots": "2"}
    status = running.get("/api/status").json()
    assert (status["status"], status["state"]) == ("healthy", "ready")
    slots = {"total_slots": 2, "used_slots": 0, "available_slots": 2}
    module = {"name": "/api/asr-streaming", "module_type": "batched_asr", **slots}
    assert status["capacity"] == {**slots, "modules": [module]}
    assert status["auth"] == {"required": False, "api_key_configured": False, "better_auth_enabled": False}
    assert status["started_at"].endswith("Z") and status["build"] == running.get("/api/build_info").json()
    [engine] = status["engines"]
    assert engine["pid"] in children_of(running) and engine["restarts"] == 0 and engine["error"] is None
    assert (engine["state"], engine["slots"], engine["device"]) == ("ready", 2, "cpu")


def test_full_is_degraded_and_counted(running: Server) -> None:
    async def fill() -> tuple[dict[str, object], str]:
        uri = running.url.replace("http", "ws") + "/api/asr-streaming"
        async with connect(uri, proxy=None) as one, connect(uri, proxy=None) as two:
            assert [await one.recv(), await two.recv()] == [MOSHI_READY] * 2
            status = await asyncio.to_thread(running.get, "/api/status")
            metrics = await asyncio.to_thread(running.get, "/metrics")
            return status.json(), metrics.body.decode()

    status, metrics = asyncio.run(fill())
    assert status["status"] == "degraded"
    assert 'asr_open_channels{handler="all"} 2.0' in metrics


def test_every_answer_has_an_id_and_every_error_is_json(running: Server) -> None:
    for path, status in [("/health", 200), ("/nowhere", 404), ("/metrics", 200), ("/api/asr-streaming/health", 200)]:
        answer = running.get(path, {"x-request-id": "mine"})
        assert (answer.status, answer.headers["x-request-id"]) == (status, "mine")
    told = asyncio.run(refusal(running.url.replace("http", "ws") + "/nowhere", {}, 404))
    assert "there are /api/asr-streaming" in told["message"]
    wrong = running.get("/health", body=b"x")
    assert (wrong.status, wrong.json()["code"]) == (405, "method_not_allowed")
    assert set(running.get("/nowhere").json()) == {"error", "code", "message", "hint"}


@pytest.mark.parametrize("path", ["/v1/stream", "/v1/realtime", "/v1/listen", "/api/speech/asr"])
def test_who_asks_for_the_path_of_a_websocket_is_told(running: Server, path: str) -> None:
    answer = running.get(path)
    assert (answer.status, answer.headers["upgrade"]) == (426, "websocket")
    assert answer.json()["message"] == f"{path} is the path of a websocket: connect to it with ws:// or wss://"


def test_a_foreign_page_may_neither_post_nor_stream(running: Server) -> None:
    answer = running.get("/api/asr-streaming", {"Origin": "https://evil.org"}, b"RIFF")
    assert (answer.status, answer.json()["code"]) == (403, "origin_not_allowed")
    assert "access-control-allow-origin" not in answer.headers
    assert 'vivavoce_refusals_total{module="",reason="origin_not_allowed"} 1.0' in running.get("/metrics").body.decode()


def test_the_banner_is_plain_without_a_terminal(running: Server) -> None:
    assert "\x1b" not in running.text
    assert f"open:     {running.url}" in running.lines
    [engine] = [line for line in running.lines if line.startswith("stt:")]
    assert "on cpu, float32, 2 slots" in engine
    assert any(line.startswith("auth:     off") for line in running.lines)


def test_static_files_cors_and_a_body_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>hello</p>")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "index.html").write_text("deeper")
    flags = ("--static-dir", str(tmp_path), "--origins", "https://friend.org", "--upload-bytes", "1000", "--silent")
    with Server(*flags, "--log-dir", str(tmp_path / "logs")) as server:
        log = tmp_path / "logs" / "log.vivavoce"
        while not (log.exists() and "Listening on" in log.read_text()):
            assert server.process.poll() is None
        server.hear(log.read_text())
        assert server.get("/").body == b"<p>hello</p>"
        assert server.get("/app/").body == b"deeper"
        assert b"export function listen" in server.get("/page/vivavoce.js").body
        assert server.get("/../../etc/passwd").status == 404
        assert server.get("/health").status == 200
        friend = server.get("/health", {"Origin": "https://friend.org"})
        assert friend.headers["access-control-allow-origin"] == "https://friend.org"
        assert "x-request-id" in friend.headers["access-control-expose-headers"].lower()
        large = server.get("/api/asr-streaming", body=bytes(2000))
        assert (large.status, large.json()["code"]) == (413, "too_large")
        server.lines.clear()
        server.signal()
        assert server.wait() == 0
    assert server.lines == []  # --silent


def test_tls_for_https_and_wss(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    trust = ssl.create_default_context(cafile=str(cert))

    async def first(uri: str) -> bytes | str:
        async with connect(uri, ssl=trust, proxy=None) as websocket:
            return await websocket.recv()

    with Server("--tls-cert", str(cert), "--tls-key", str(key), "--slots", "1") as server:
        server.wait_ready()
        assert server.url.startswith("https://")
        assert fetch(server.url + "/ready", context=trust).status == 200
        assert asyncio.run(first(server.url.replace("https", "wss") + "/api/asr-streaming")) == MOSHI_READY
        server.signal()
        assert server.wait() == 0


# --- who may come in, and what is said about it ---


def test_secrets_open_and_are_written_nowhere(tmp_path: Path) -> None:
    flags = ("--log-json", "--log-level", "trace", "--log-dir", str(tmp_path), "--slots", "4", "--modal-headers")
    secrets = {
        "VIVAVOCE_API_KEYS": "hidden-key", "VIVAVOCE_JWT_SECRET": "hidden-secret",
        "VIVAVOCE_MODAL_KEY": "hidden-modal", "VIVAVOCE_MODAL_SECRET": "hidden-modal",
    }  # fmt: skip
    with Server(*flags, environment=secrets) as server:
        server.wait_ready()
        uri = server.url.replace("http", "ws") + "/v1/stream"
        for bad in [
            {"kyutai-api-key": "hidden-1"},
            {"Authorization": "Bearer hidden.2.x"},
            {"Cookie": "better-auth.session_token=hidden-3"},
            {"Modal-Key": "hidden-4", "Modal-Secret": "hidden-modal"},
        ]:
            refused = asyncio.run(refusal(uri, bad))
            assert refused["code"] in ("invalid_key", "jwt_validation_failed")
            assert "hidden" not in json.dumps(refused)
            assert server.get("/api/asr-streaming", bad, b"x").status == 401
        for query in ("?auth_id=hidden-5", "?token=hidden-6", "?%61uth_id=hidden-7"):
            assert asyncio.run(refusal(uri + query, {}))["error"] == "unauthorized"
        assert asyncio.run(refusal(uri, {}))["code"] == "missing_credentials"
        asyncio.run(greeted(uri + "?auth_id=hidden-key", {}))
        asyncio.run(greeted(uri, {"kyutai-api-key": "hidden-key"}))
        asyncio.run(greeted(uri, {"Modal-Key": "hidden-modal", "Modal-Secret": "hidden-modal"}))
        public = [server.get(path).body.decode() for path in ("/metrics", "/api/status", "/ready")]
        server.signal()
        assert server.wait() == 0
    files = [path.read_text() for path in tmp_path.iterdir()]
    assert files and "Stream opened" in files[0]
    assert "hidden" not in "\n".join([*public, *files, server.text])
    lines = [json.loads(line) for line in files[0].splitlines()]
    assert any("jwt_secret has 13 bytes" in line["message"] for line in lines)
    streams = [line for line in lines if line["message"].startswith("Stream ")]
    assert streams and all(line["session"] for line in streams)
    assert 'reason="invalid_key"' in public[0] and 'reason="missing_credentials"' in public[0]


async def refusal(uri: str, headers: dict[str, str], status: int = 401) -> dict[str, str]:
    with pytest.raises(InvalidStatus) as caught:
        async with connect(uri, proxy=None, additional_headers=headers):
            pass
    assert caught.value.response.status_code == status
    body: dict[str, str] = json.loads(caught.value.response.body or b"")
    return body


async def greeted(uri: str, headers: dict[str, str]) -> None:
    async with connect(uri, proxy=None, additional_headers=headers) as websocket:
        greeting = await websocket.recv()
        assert greeting == MOSHI_READY or json.loads(greeting)["type"] == "ready"


def test_an_address_is_that_which_a_trusted_proxy_names() -> None:
    async def two(server: Server) -> None:
        uri = server.url.replace("http", "ws") + "/api/asr-streaming"
        async with connect(uri, proxy=None, additional_headers={"X-Forwarded-For": "192.0.2.1"}) as one:
            assert await one.recv() == MOSHI_READY
            await greeted(uri, {"X-Forwarded-For": "192.0.2.2"})
            with pytest.raises(InvalidStatus) as caught:
                async with connect(uri, proxy=None, additional_headers={"X-Forwarded-For": "192.0.2.9, 192.0.2.1"}):
                    pass
            assert caught.value.response.status_code == 429
            assert caught.value.response.headers["retry-after"] == "5"

    with Server("--connections-per-address", "1", "--slots", "3") as server:
        server.wait_ready()
        asyncio.run(two(server))
        assert "ERROR" not in server.text  # to be refused is no fault of the server's


# --- how it ends ---


def children_of(server: Server) -> set[int]:
    """Processes that the server has begun and that still live."""
    try:
        return {child.pid for child in psutil.Process(server.process.pid).children(recursive=True)}
    except psutil.NoSuchProcess:
        return set()


def gone(pids: set[int]) -> bool:
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids)


@pytest.fixture
def temporary(tmp_path: Path) -> dict[str, str]:
    """An environment whose temporary folder is empty, so that what is left behind can be seen."""
    (tmp_path / "tmp").mkdir()
    return {"TMPDIR": str(tmp_path / "tmp")}


def test_streams_under_way_at_sigterm_lose_no_word_and_nothing_is_left(temporary: dict[str, str]) -> None:
    digits = audio.load(EXAMPLE).astype("<f4").tobytes()
    said = EXAMPLE.with_suffix(".txt").read_text().replace(",", "").replace(".", "").strip()
    middle = len(digits) // 2 + 3  # in the midst of a word, of a frame and of a sample

    async def speak(websocket: ClientConnection, told: asyncio.Event) -> str:
        assert json.loads(await websocket.recv())["type"] == "ready"
        await websocket.send(digits[:middle])
        await told.wait()
        await websocket.send(digits[middle:])
        await websocket.send('{"type": "eos"}')
        messages = [json.loads(message) async for message in websocket]
        assert websocket.close_code == 1000
        return "".join(message["text"] for message in messages if message["type"] == "token").strip()

    async def talk(server: Server) -> list[str]:
        uri = server.url.replace("http", "ws") + "/v1/stream"
        told = asyncio.Event()
        async with contextlib.AsyncExitStack() as stack:
            callers = [await stack.enter_async_context(connect(uri, proxy=None)) for _ in range(4)]
            speaking = [asyncio.create_task(speak(caller, told)) for caller in callers]
            server.signal()
            await asyncio.to_thread(server.wait_for, "Draining: 4 open streams")
            ready = await asyncio.to_thread(server.get, "/ready")
            assert (ready.status, ready.json()["status"]) == (503, "draining")
            with pytest.raises(InvalidStatus) as caught:
                await stack.enter_async_context(connect(uri, proxy=None))
            assert caught.value.response.status_code == 503
            assert json.loads(caught.value.response.body or b"")["code"] == "going_away"
            told.set()
            return await asyncio.gather(*speaking)

    with Server("--slots", "5", environment=temporary) as server:
        server.wait_ready()
        engines = children_of(server)
        assert asyncio.run(talk(server)) == [said] * 4
        assert server.wait() == 0
    assert engines and gone(engines)
    assert list(Path(temporary["TMPDIR"]).iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_whoever_has_not_finished_at_the_deadline_is_told_to_come_again(
    number: signal.Signals, temporary: dict[str, str]
) -> None:
    async def linger(server: Server) -> list[int | None]:
        base = server.url.replace("http", "ws")
        async with (
            connect(base + "/v1/stream", proxy=None) as one,
            connect(base + "/api/asr-streaming", proxy=None) as two,
        ):
            for websocket in (one, two):
                await websocket.recv()
            server.signal(number)
            for websocket in (one, two):
                with contextlib.suppress(ConnectionClosed):
                    while True:
                        await asyncio.wait_for(websocket.recv(), PATIENCE)
            return [one.close_code, two.close_code]

    with Server("--slots", "2", "--drain-seconds", "0.2", environment=temporary) as server:
        server.wait_ready()
        engines = children_of(server)
        assert asyncio.run(linger(server)) == [1001, 1001]
        assert server.wait() == 0
    assert gone(engines)
    assert list(Path(temporary["TMPDIR"]).iterdir()) == []


def test_a_second_signal_ends_it_at_once(temporary: dict[str, str]) -> None:
    async def interrupt(server: Server) -> int:
        async with connect(server.url.replace("http", "ws") + "/v1/stream", proxy=None) as websocket:
            await websocket.recv()
            server.signal(signal.SIGINT)
            await asyncio.to_thread(server.wait_for, "Draining")
            server.signal(signal.SIGINT)
            return await asyncio.to_thread(server.wait)

    with Server("--drain-seconds", "3600", environment=temporary) as server:
        server.wait_ready()
        engines = children_of(server)
        assert asyncio.run(interrupt(server)) == 130
    assert gone(engines)
    assert list(Path(temporary["TMPDIR"]).iterdir()) == []


def test_a_signal_while_it_loads_ends_it(temporary: dict[str, str]) -> None:
    with Server(environment=temporary) as server:
        assert server.get("/ready").status == 503
        engines = children_of(server)
        server.signal()
        assert server.wait() == 0
    assert gone(engines)
    assert list(Path(temporary["TMPDIR"]).iterdir()) == []


def test_the_banner_is_a_box_on_a_terminal() -> None:
    import pty

    leader, follower = pty.openpty()
    with Server(
        "--slots", "1", stderr=follower, environment={"NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "100"}
    ) as server:
        os.close(follower)
        said = b""
        while b"Ready after" not in said:
            said += os.read(leader, 65_536)
        server.signal()
        while True:
            try:
                said += os.read(leader, 65_536)
            except OSError:  # the other end is closed
                break
        assert server.wait() == 0
    os.close(leader)
    text = said.decode()
    assert "╭─ vivavoce " in text and "http://127.0.0.1:" in text
    assert "\x1b[3" not in text  # no colour
