"""A stream's journal: two lines, its id on all between, and a span at the collector."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from starlette.websockets import WebSocketDisconnect

from vivavoce.core import Fault, StreamError, Token, Word, WordEnded
from vivavoce.server import traces
from vivavoce.server.journal import Journal

from ..web import answering
from .process import Server


@dataclass
class Listened:
    """As much of a stream as a journal reads."""

    id: str = "0123456789abcdef"
    samples: int = 48_000


def spoken(text: str) -> WordEnded:
    return WordEnded(Word(text, 0.0, 1.0, 0.9))


def test_two_lines_tell_a_stream_and_all_carry_the_short_session(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "vivavoce")
    with Journal(Listened(), "stt", dialect="moshi", who="key 1") as journal:
        for event in (Token("one", 0.0), spoken("one"), spoken("two")):
            journal.saw(event)
    opened, ended = caplog.messages
    assert opened == "Stream opened: stt, moshi, key 1"
    assert ended.startswith("Stream ended after ") and ended.endswith("2.0 s of audio, 2 words, done")
    assert "89abcdef" not in caplog.text  # the whole id would let a reader of the log resume the stream


def test_a_fault_is_named_and_passes_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "vivavoce")
    with pytest.raises(StreamError), Journal(Listened(), "stt", dialect="stream", who="anyone"):
        raise StreamError(Fault.SLOW_READER)
    assert caplog.messages[-1].endswith("0 words, SLOW_READER: the client does not read what it is sent")


@pytest.mark.parametrize(
    ("code", "reason", "said"),
    [(1000, "", "the client left with 1000"), (1006, "gone", "the client left with 1006, gone")],
)
def test_a_client_that_leaves_is_no_fault_of_a_programs(
    caplog: pytest.LogCaptureFixture, code: int, reason: str, said: str
) -> None:
    caplog.set_level("INFO", "vivavoce")
    with pytest.raises(WebSocketDisconnect), Journal(Listened(), "stt", dialect="stream", who="anyone"):
        raise WebSocketDisconnect(code, reason)
    assert caplog.messages[-1].endswith(f"0 words, {said}")


class Collector(HTTPServer):
    """Receives spans as an OpenTelemetry collector does."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        super().__init__(("127.0.0.1", 0), Receiver)


class Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        import gzip

        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.bodies.append(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Silent."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with answering(server := Collector()):
        yield server


def test_a_span_for_every_stream(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.sdk")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    end = traces.set_up("one")
    with Journal(Listened(), "stt", dialect="moshi", who="key 1") as journal:
        journal.saw(spoken("one"))
    with pytest.raises(StreamError), Journal(Listened(), "stt", dialect="stream", who="key 1"):
        raise StreamError(Fault.CLIENT_TIMEOUT)
    end()
    assert traces.tracer() is None
    spans = spans_at(collector)
    shared = {"session": "01234567", "model": "stt", "audio_seconds": 2.0}
    assert spans == [
        {**shared, "dialect": "moshi", "words": 1, "fault": "none"},
        {**shared, "dialect": "stream", "words": 0, "fault": "CLIENT_TIMEOUT"},
    ]


def test_the_server_sends_its_last_span_before_it_ends(collector: Collector) -> None:
    pytest.importorskip("opentelemetry.sdk")
    there = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}", "NO_PROXY": "127.0.0.1"}
    recording = (Path(__file__).parents[2] / "examples" / "digits.flac").read_bytes()
    with Server("--otel", "--slots", "1", environment=there) as server:
        server.wait_ready()
        assert server.get("/api/asr-streaming", body=recording).status == 200
        server.signal()
        assert server.wait() == 0
    [span] = spans_at(collector)
    assert len(str(span.pop("session"))) == 8 and span.pop("audio_seconds")
    assert span == {"model": "stt", "dialect": "moshi", "words": 22, "fault": "none"}


def spans_at(collector: Collector) -> list[dict[str, object]]:
    """The attributes of every span that has arrived."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    return [
        {attribute.key: value(attribute.value) for attribute in span.attributes}
        for body in collector.bodies
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def value(any_value: Any) -> object:
    return getattr(any_value, any_value.WhichOneof("value"))


def test_without_the_extra_one_line_says_what_is_missing() -> None:
    code = (
        "import sys; sys.modules['opentelemetry.sdk.resources'] = None\n"
        "from vivavoce.core import UnsupportedError\n"
        "from vivavoce.server import traces\n"
        "try: traces.set_up('x')\n"
        "except UnsupportedError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said.startswith(
        "traces need the extra otel (pip install 'vivavoce[otel]'): there is no module opentelemetry"
    )
    assert said.count("\n") == 1
