"""Which voices a server speaks with."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

from .connect import told_headers
from .faults import ConnectionFailedError, explain
from .wire_speech import speech_target

ANSWER = 30.0  # seconds


@dataclass(frozen=True)
class KnownVoices:
    """Names that `connect_tts` takes, and the one of a stream that asks for none."""

    names: tuple[str, ...]
    default: str | None


def voices(
    url: str, *, key: str | None = None, token: str | None = None, headers: Mapping[str, str] | None = None
) -> KnownVoices:
    """Of a vivavoce server; arguments as of `connect_tts`. Raises StreamError, ConnectionFailedError, AddressError."""
    target = speech_target(url)
    parts = urlsplit(target.url)
    path = parts.path.removesuffix("_streaming") + "/voices"
    scheme = "https" if parts.scheme == "wss" else "http"
    request = urllib.request.Request(
        urlunsplit(parts._replace(scheme=scheme, path=path)), headers=told_headers(headers, key, token)
    )
    proxies = urllib.request.ProxyHandler({} if target.loopback else None)
    try:
        with urllib.request.build_opener(proxies).open(request, timeout=ANSWER) as answer:
            told = json.load(answer)
        return KnownVoices(tuple(told["voices"]), told["default"])
    except urllib.error.HTTPError as error:
        refusal = Response(error.code, error.reason, Headers(error.headers.items()), error.read())
        raise explain(InvalidStatus(refusal)).error(target.shown) from None
    except urllib.error.URLError as error:
        reason = error.reason if isinstance(error.reason, OSError) else OSError(str(error.reason))
        raise explain(reason).error(target.shown) from None
    except (OSError, ValueError, KeyError, TypeError):
        raise ConnectionFailedError(f"{target.shown}: the server does not tell its voices") from None
