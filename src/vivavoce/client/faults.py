"""Why a connection failed, in one line, and whether it makes sense to try again. All of it from core's table."""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus, InvalidURI
from websockets.http11 import Response

from vivavoce.core import Fault, StreamError, VivavoceError

from .address import redacted

_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")  # as OpenSSL 1.1 and 3 have it
_LOST = "the connection was lost during the handshake"
GATEWAYS = {502, 504}  # a proxy whose server is not there at the moment
# What a refusal without a code means. A 404 is no unknown session then, but a path that does not exist.
_BY_STATUS = {fault.status: fault for fault in reversed(Fault) if fault.status != 404} | {503: Fault.UNAVAILABLE}


class ConnectionFailedError(VivavoceError):
    """No server was reached, or the connection was lost and did not come back in time."""


@dataclass(frozen=True)
class Failure:
    """One line; the fault where the server named one; whether to try again, and after how many seconds at least."""

    message: str
    fault: Fault | None = None
    retry: bool = True
    retry_after: float | None = None
    missing: bool = False  # no such path: another dialect may be spoken there

    def error(self, where: str) -> VivavoceError:
        """What the caller gets when it is not tried again."""
        if self.fault is None:
            return ConnectionFailedError(f"{where}: {self.message}")
        return StreamError(self.fault, f"{where}: {self.message}", self.retry_after)


def by_name(name: object) -> Fault | None:
    """A fault by its name in any case: `capacity`."""
    return Fault.__members__.get(str(name).upper())


def by_close_code(code: int) -> Fault | None:
    """The first fault with that close code; 1012 ("service restart") counts as GOING_AWAY."""
    if code == 1012:
        return Fault.GOING_AWAY
    return next((fault for fault in Fault if fault.close_code == code), None)


def explain(error: BaseException, said: StreamError | None = None) -> Failure:
    """What an exception of a connection means; `said` is the last error message that the server sent before."""
    if isinstance(error, StreamError):
        return Failure(str(error), error.fault, error.fault.retry, error.retry_after)
    if isinstance(error, InvalidStatus):
        return _refused(error.response)
    if isinstance(error, ConnectionClosed):
        return _closed(error, said)
    if isinstance(error, InvalidURI | ssl.SSLCertVerificationError):
        return Failure(redacted(str(error)), retry=False)
    if isinstance(error, InvalidHandshake) and not isinstance(error, InvalidMessage):
        return Failure(f"this is no websocket server: {redacted(str(error))}", retry=False)
    if isinstance(error, TimeoutError):
        return Failure("the server did not answer in time")
    if isinstance(error, EOFError | InvalidMessage):
        return Failure(_LOST)
    if isinstance(error, ssl.SSLError) and error.reason in _NO_TLS:
        return Failure("no TLS is spoken there: ws:// instead of wss://?", retry=False)
    if isinstance(error, OSError):
        return Failure(_of_socket(error))
    raise error


def _of_socket(error: OSError) -> str:
    """asyncio's own words quote the address; those of several addresses are one error without a number."""
    if isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error):
        return "connection refused: nothing listens there"
    return redacted(error.strerror or str(error)) or _LOST


def _closed(error: ConnectionClosed, said: StreamError | None) -> Failure:
    received = error.rcvd
    if received is None or (received.code == 1005 and said is None):
        return Failure("the connection was lost") if said is None else explain(said)
    if said is not None and received.code in (said.fault.close_code, 1005):
        return explain(said)
    fault = by_close_code(received.code)
    if fault is None:
        reason = f" ({received.reason})" if received.reason else ""
        return Failure(f"the server closed the connection with code {received.code}{reason}", retry=False)
    if fault is Fault.NORMAL:
        return Failure("the server closed the connection before everything was said", fault, retry=False)
    return Failure(_text(fault, received.reason), fault, fault.retry)


def _refused(response: Response) -> Failure:
    """An HTTP answer instead of the upgrade."""
    status = response.status_code
    try:
        body = json.loads(response.body or b"")
    except ValueError:
        body = {}
    body = body if isinstance(body, dict) else {}
    if status in GATEWAYS:
        return Failure(f"HTTP {status} from a gateway: its server is not there")
    message = _message(body)
    fault = by_name(body.get("code")) or _BY_STATUS.get(status)
    if fault is None:
        said = f": {redacted(message)}" if message else ""
        return Failure(f"HTTP {status} instead of a websocket{said}", retry=status >= 500, missing=status == 404)
    text = _text(fault, message)
    hint = f" ({body['hint']})" if body.get("hint") else ""
    return Failure(text + hint, fault, fault.retry, _seconds(response.headers.get("Retry-After")))


def _message(body: dict[str, Any]) -> str:
    """Of a refusal in our shape, OpenAI's or Deepgram's."""
    nested = body["error"] if isinstance(body.get("error"), dict) else {}
    return str(body.get("message") or nested.get("message") or body.get("err_msg") or "")


def _text(fault: Fault, detail: str) -> str:
    if not detail or detail == fault.meaning:
        return fault.meaning
    return redacted(detail)


def _seconds(header: str | None) -> float | None:
    try:
        return max(0.0, float(header)) if header is not None else None
    except ValueError:  # a date
        return None
