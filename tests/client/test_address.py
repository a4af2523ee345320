"""URLs: what people write, what is dialled, and what may be shown."""

from __future__ import annotations

import pytest

from vivavoce.client.address import AddressError, redacted, targets


@pytest.mark.parametrize(
    ("written", "dialled"),
    [
        ("localhost:8080", ["ws://localhost:8080/v1/stream", "ws://localhost:8080/api/asr-streaming"]),
        ("ws://host", ["ws://host/v1/stream", "ws://host/api/asr-streaming"]),
        ("https://host/", ["wss://host/v1/stream", "wss://host/api/asr-streaming"]),
        ("http://host/v1/stream?a=1", ["ws://host/v1/stream?a=1"]),
        ("wss://host/api/asr-streaming", ["wss://host/api/asr-streaming"]),
        ("ws://[::1]:9/v1/stream/en", ["ws://[::1]:9/v1/stream/en"]),
    ],
)
def test_what_is_dialled(written: str, dialled: list[str]) -> None:
    assert [target.url for target in targets(written)] == dialled


@pytest.mark.parametrize(
    ("url", "dialect", "spoken"),
    [
        ("ws://h/api/asr-streaming", "auto", ["moshi"]),
        ("ws://h/v1/stream", "auto", ["stream"]),
        ("ws://h/speech", "moshi", ["moshi"]),
        ("ws://h", "moshi", ["moshi"]),
        ("ws://h", "auto", ["stream", "moshi"]),
    ],
)
def test_the_path_decides_the_dialect_unless_told(url: str, dialect: str, spoken: list[str]) -> None:
    assert [target.dialect for target in targets(url, dialect)] == spoken  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["", "ftp://host", "ws://", "ws://host:port", "ws://host:0", "://", "ws:///path"])
def test_what_names_no_server_is_refused(url: str) -> None:
    with pytest.raises(AddressError, match="expected a URL"):
        targets(url)


def test_a_refusal_holds_no_secret() -> None:
    with pytest.raises(AddressError) as caught:
        targets("ftp://me:hush@host/?token=hush")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("ws://h/p?token=abc&vad=true", "ws://h/p?token=***&vad=true"),
        ("ws://h/p?a=1&auth_id=k%20ey", "ws://h/p?a=1&auth_id=***"),
        ("wss://me:secret@h/p", "wss://me:***@h/p"),
        ("cannot open ws://h?TOKEN=abc: refused", "cannot open ws://h?TOKEN=*** refused"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_secrets_are_not_shown(said: str, shown: str) -> None:
    assert redacted(said) == shown


def test_the_url_has_the_last_word_about_its_query() -> None:
    (target,) = targets("ws://h/v1/stream?words=false")
    assert target.with_query(words="true", vad="true") == "ws://h/v1/stream?words=false&vad=true"


@pytest.mark.parametrize(("url", "here"), [("localhost", True), ("127.0.0.2", True), ("[::1]", True), ("h.org", False)])
def test_what_is_on_this_machine(url: str, here: bool) -> None:
    assert targets(url)[0].loopback is here


def test_the_same_server_over_http() -> None:
    assert targets("wss://host:1/v1/stream?token=x")[0].http == "https://host:1"
