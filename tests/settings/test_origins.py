"""Where requests may come from, in the words of those that are compared with it."""

from __future__ import annotations

import pytest

from vivavoce.settings import load


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("https://Example.org/", "https://example.org"),
        ("https://example.org:443", "https://example.org"),
        ("http://example.org:443", "http://example.org:443"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("chrome-extension://abc", "chrome-extension://abc"),
        ("null", "null"),
        ("*", "*"),
    ],
)
def test_an_origin_is_kept_as_browsers_send_it(written: str, sent: str) -> None:
    assert load({"origins": written}).settings.origins == (sent,)


@pytest.mark.parametrize(("written", "kept"), [("10.1.2.3/8", "10.0.0.0/8"), ("::1", "::1"), ("*", "*")])
def test_a_proxy_is_an_address_or_a_network(written: str, kept: str) -> None:
    assert load({"trusted_proxies": written}).settings.trusted_proxies == (kept,)
