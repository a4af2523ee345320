"""`vivavoce logs clean`: what servers really write, made readable."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vivavoce.core import ExitCode
from vivavoce.server.logs import JsonLines, Lines
from vivavoce.tools.log_lines import Line, clean, parse

from .conftest import Run

DIM, GREEN, OFF = "\x1b[2m", "\x1b[32m", "\x1b[0m"
RUST = f"{DIM}2026-01-02T03:04:05.678901Z{OFF} {GREEN} INFO{OFF} {DIM}moshi_server::asr{OFF}{DIM}:{OFF} ready\r"
WHOLE = "[2026-01-02 03:04:05.678 AM UTC (+00:00)] [INFO] [moshi_server::asr] ready"


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def record(message: str, level: int = logging.WARNING) -> logging.LogRecord:
    made = logging.LogRecord("vivavoce.server.gate", level, __file__, 7, message, None, None)
    made.created, made.session = datetime(2026, 1, 2, 15, 4, 5, 678_000, UTC).timestamp(), "ab12cd34"
    return made


@pytest.mark.parametrize("style", ["pretty", "compact", "verbose"])
@pytest.mark.parametrize("colour", [False, True])
def test_every_style_of_our_own_is_understood(style: str, colour: bool) -> None:
    (line,) = clean([Lines(style, colour).format(record("two words"))])
    assert isinstance(line, Line)
    assert (line.level, line.session, line.time.hour) == ("WARN", "ab12cd34", 15)
    assert line.message.endswith("two words")
    assert line.target == ("" if style == "compact" else "vivavoce.server.gate")
    assert str(line).startswith("[2026-01-02 03:04:05.678 PM UTC (+00:00)] [WARN] ")


def test_our_json_and_that_of_tracing() -> None:
    ours = parse(JsonLines().format(record("two words")))
    theirs = parse(
        '{"timestamp":"2026-01-02T03:04:05.678Z","level":"INFO","fields":{"message":"ready"},"target":"moshi_server"}'
    )
    assert ours
    assert (ours.level, ours.target, ours.message, ours.session) == (
        "WARN", "vivavoce.server.gate", "two words", "ab12cd34"
    )  # fmt: skip
    assert str(theirs) == "[2026-01-02 03:04:05.678 AM UTC (+00:00)] [INFO] [moshi_server] ready"


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        (RUST, WHOLE),
        ("2026-01-02 03:04:05.678 ● INFO  moshi_server: ready", WHOLE.replace("::asr", "")),
        ("2026-01-02T03:04:05.678+01:00  WARN a: b", "[2026-01-02 02:04:05.678 AM UTC (+00:00)] [WARN] [a] b"),
        ("2026-01-02 03:04:05 ERROR no module", "[2026-01-02 03:04:05.000 AM UTC (+00:00)] [ERROR] no module"),
        ("  Traceback \x07of\tit  ", "  Traceback  of\tit"),
        ("2026-99-99T00:00:00Z INFO x: y", "2026-99-99T00:00:00Z INFO x: y"),
        ('{"not": "a log"}', '{"not": "a log"}'),
        ("GET /x?token=abc.def&a=1 HTTP", "GET /x?token=***&a=1 HTTP"),
    ],
)  # fmt: skip
def test_lines(raw: str, read: str) -> None:
    assert [str(line) for line in clean([raw + "\n"])] == [read]


def test_times_are_those_of_this_machines_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "EST5EDT")
    time.tzset()
    assert str(parse("2026-07-02T03:04:05Z INFO a: b")).startswith("[2026-07-01 11:04:05.000 PM EDT (-04:00)]")


@given(st.text())
def test_anything_is_a_line_without_control_characters(raw: str) -> None:
    (line,) = clean([raw])
    assert "\x1b" not in str(line)
    assert "\r" not in str(line)


def test_where_the_clean_log_goes(run: Run, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    before = f"{RUST}\n".encode()
    for name in ("raw/log.a", "log.b"):
        (tmp_path / name).write_bytes(before)
    assert run("logs", "clean", "raw/log.a").code == 0
    assert run("logs", "clean", "log.b").code == 0
    assert run("logs", "clean", "log.b", "-o", "deep/c").code == 0
    for name in ("log.a", "friendly-log.b", "deep/c"):
        assert (tmp_path / name).read_text() == WHOLE + "\n"
    assert (tmp_path / "log.b").read_bytes() == before
    assert run("logs", "clean", "log.b", "-o", "log.b").code == ExitCode.FAILURE
    assert (tmp_path / "log.b").read_bytes() == before
    assert run("logs", "clean", "none").code == ExitCode.FILE_NOT_FOUND


def test_strip_raw_and_json(run: Run, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(f"{RUST}\n   at line 7   \n")
    assert run("logs", "clean", "log", "-o", "-", "--strip-raw").out == f"{WHOLE}\nat line 7\n"
    first, second = map(json.loads, run("logs", "clean", "log", "-o", "-", "--json").out.splitlines())
    assert (first["level"], first["target"], first["message"]) == ("INFO", "moshi_server::asr", "ready")
    assert second == {"message": "   at line 7"}
