"""What the log looks like, where it goes, and what never stands in it."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from vivavoce.core import UnsupportedError
from vivavoce.server import logs
from vivavoce.settings import ServeSettings

LOGGERS = ("", "vivavoce", "uvicorn", "uvicorn.error")
log = logging.getLogger("vivavoce.server.example")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Logging is a global of Python: put back what a test changed."""
    before = [
        (logging.getLogger(name), logging.getLogger(name).level, logging.getLogger(name).handlers[:])
        for name in LOGGERS
    ]
    for logger, _, _ in before:
        logger.handlers = []
    yield
    for logger, level, handlers in before:
        for handler in logger.handlers:
            handler.close()
        logger.handlers = handlers
        logger.setLevel(level)


def set_up(**settings: Any) -> None:
    logs.set_up(ServeSettings(**settings))


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("style", "pattern"),
    [
        ("compact", r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} INFO  hello world"),
        ("pretty", r"\d{4}-\S+ \S+ ● INFO  vivavoce\.server\.example hello world"),
        ("verbose", r"\d{4}-\S+ \S+ ● INFO  vivavoce\.server\.example test_logs\.py:\d+ hello world"),
    ],
)
def test_styles_for_people(style: str, pattern: str, capsys: pytest.CaptureFixture[str]) -> None:
    import re

    set_up(log_style=style)
    log.info("hello %s", "world")
    [line] = said(capsys)
    assert re.fullmatch(pattern, line)


def test_colour_only_when_the_console_has_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    set_up()
    log.warning("hello")
    monkeypatch.setenv("NO_COLOR", "1")
    set_up()
    log.warning("hello")
    coloured, plain = said(capsys)
    assert "\x1b[33m" in coloured
    assert "\x1b" not in plain


@pytest.mark.parametrize(
    ("level", "names"),
    [
        ("off", []),
        ("error", ["error"]),
        ("warn", ["warn", "error"]),
        ("info", ["info", "warn", "error"]),
        ("debug", ["debug", "info", "warn", "error"]),
        ("trace", ["trace", "debug", "info", "warn", "error"]),
    ],
)
def test_levels(level: str, names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    set_up(log_level=level, log_style="compact")
    for name in ("trace", "debug", "info", "warn", "error"):
        log.log(logs.LEVELS[name], "said at %s", name)
    assert [line.split()[-1] for line in said(capsys)] == names


def test_json_lines_carry_the_session_and_the_exception(capsys: pytest.CaptureFixture[str]) -> None:
    set_up(log_json=True)
    with logs.session("ab12"):
        log.info("in\nside")
    try:
        raise ValueError("no good")
    except ValueError:
        log.exception("outside")
    inside, outside = (json.loads(line) for line in said(capsys))
    assert inside["session"] == "ab12" and inside["message"] == "in\nside" and inside["level"] == "info"
    assert inside["file"] == "test_logs.py" and inside["logger"] == "vivavoce.server.example"
    assert inside["time"].endswith("+00:00")
    assert "session" not in outside and outside["exception"].endswith("ValueError: no good")


def test_sessions_nest_and_reach_every_style(capsys: pytest.CaptureFixture[str]) -> None:
    set_up(log_style="compact")
    with logs.session("outer"):
        with logs.session("inner"):
            log.info("one")
        log.info("two")
    log.info("three")
    assert [line.split(" INFO  ")[1] for line in said(capsys)] == ["[inner] one", "[outer] two", "three"]


def test_silent_stops_the_console_and_not_the_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    set_up(silent=True, log_dir=tmp_path / "logs", instance_name="one")
    log.error("hello")
    logging.getLogger("uvicorn.error").error("from below")
    assert capfd.readouterr() == ("", "")
    text = (tmp_path / "logs" / "log.one").read_text()
    assert "vivavoce.server.example hello" in text and "uvicorn.error from below" in text


def test_silent_without_a_file_says_nothing_at_all(capfd: pytest.CaptureFixture[str]) -> None:
    set_up(silent=True)
    log.error("hello")
    assert capfd.readouterr() == ("", "")


def test_a_full_file_is_rotated_and_so_many_are_kept(tmp_path: Path) -> None:
    set_up(silent=True, log_dir=tmp_path, log_max_size_mb=1, log_max_files=2)
    for number in range(45):
        log.info("%02d %s", number, "x" * 100_000)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["log.vivavoce", "log.vivavoce.1", "log.vivavoce.2"]
    assert all(path.stat().st_size <= 1_000_000 for path in tmp_path.iterdir())
    kept = [line.split()[5] for name in reversed(files) for line in (tmp_path / name).read_text().splitlines()]
    assert kept == [f"{number:02}" for number in range(18, 45)]  # nine to a file, none lost among those kept


def test_a_new_day_begins_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "log.x"
    handler = logs.RotatingFile(path, 1_000_000, 5)
    for days, text in [(0, "first"), (0, "still first"), (1, "second"), (3, "third")]:
        record = logging.LogRecord("x", logging.INFO, "", 0, text, None, None)
        record.created += days * 86_400
        handler.handle(record)
    handler.close()
    texts = [(tmp_path / name).read_text().split("\n")[:-1] for name in ("log.x.2", "log.x.1", "log.x")]
    assert texts == [["first", "still first"], ["second"], ["third"]]


def test_yesterdays_file_is_put_aside_at_the_first_line_of_today(tmp_path: Path) -> None:
    import os
    import time

    path = tmp_path / "log.x"
    path.write_text("yesterday\n")
    yesterday = time.mktime((date.today() - timedelta(days=1)).timetuple())
    os.utime(path, (yesterday, yesterday))
    handler = logs.RotatingFile(path, 1_000_000, 5)
    handler.handle(logging.LogRecord("x", logging.INFO, "", 0, "today", None, None))
    handler.close()
    assert path.read_text() == "today\n"
    assert (tmp_path / "log.x.1").read_text() == "yesterday\n"


def test_a_folder_that_takes_no_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnsupportedError, match="the log cannot be written there"):
        set_up(log_dir=tmp_path / "file")


@pytest.mark.parametrize("as_json", [True, False])
def test_secrets_of_urls_are_cut_out(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    set_up(log_json=as_json, log_level="trace")
    uvicorn = logging.getLogger("uvicorn.error")
    uvicorn.info('%s - "WebSocket %s" [accepted]', "peer", "/v1/stream?%61uth_id=hidden&token=hidden")
    uvicorn.debug("> kyutai-api-key: hidden")
    log.info("GET /x?auth_id=hidden&a=1 and token=hidden, session=hidden")
    try:
        raise ValueError("ws://host/x?token=hidden")
    except ValueError:
        log.exception("failed")
    text = "\n".join(said(capsys))
    assert "hidden" not in text
    assert "auth_id=***&a=1" in text and "/v1/stream" in text
