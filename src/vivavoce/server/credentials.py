"""Where a caller may put a secret, and who may come in with it.

The first place that holds something decides; a wrong secret there is not made good by a right one elsewhere:
header `kyutai-api-key`, `Authorization: Bearer` (or `Token`, Deepgram's word for it), a websocket's subprotocols (for
browsers, which can set no header: `token, KEY` as Deepgram has it, `openai-insecure-api-key.KEY` as OpenAI has it),
`Modal-Key` with `Modal-Secret`, query `auth_id`, query `token`, cookie `better-auth.session_token`. A place is looked
at only if the server is set up for what it carries.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from vivavoce.core import Fault

from .errors import Refused
from .tokens import Tokens

COOKIE = "better-auth.session_token"
QUERY_SECRETS = ("auth_id", "token")
SCHEMES = ("bearer", "token")
OPENAI_PROTOCOL = "openai-insecure-api-key."


@dataclass(frozen=True)
class Credentials:
    """What the server accepts; nothing at all means that everyone may come in."""

    keys: Sequence[str] = ()
    tokens: Tokens | None = None
    modal: tuple[str, str] | None = None  # Modal-Key and Modal-Secret
    required: bool = True

    def who(self, connection: HTTPConnection) -> str:
        """A name for the caller that holds no secret: "key 2", "user ab12", "anyone". Raises Refused."""
        if not self.required:
            return "anyone"
        headers, query = connection.headers, connection.query_params
        if self.keys and (key := headers.get("kyutai-api-key")) is not None:
            return self._key(key)
        if (bearer := _bearer(headers)) is not None and (self.keys or self.tokens):
            return self._bearer(bearer)
        if self.modal and ("modal-key" in headers or "modal-secret" in headers):
            return self._modal(headers.get("modal-key", ""), headers.get("modal-secret", ""))
        if self.keys and (key := query.get("auth_id")) is not None:
            return self._key(key)
        token = query.get("token") or connection.cookies.get(COOKIE)
        if self.tokens and token:
            return self.tokens.user(token)
        raise Refused(Fault.UNAUTHENTICATED, "missing_credentials", "no key or token was given", self._places())

    def _bearer(self, bearer: str) -> str:
        number = _place(bearer, self.keys)
        if number is None and self.tokens:
            return self.tokens.user(bearer)
        return self._key(bearer)

    def _key(self, key: str) -> str:
        number = _place(key, self.keys)
        if number is None:
            raise Refused(Fault.UNAUTHENTICATED, "invalid_key", "the key is not one of this server's")
        return f"key {number}"

    def _modal(self, key: str, secret: str) -> str:
        assert self.modal is not None
        if not _same(key, self.modal[0]) & _same(secret, self.modal[1]):  # `&` compares both, whatever the first says
            raise Refused(Fault.UNAUTHENTICATED, "invalid_key", "Modal-Key and Modal-Secret are not this server's")
        return "modal"

    def _places(self) -> str:
        places = ["the header kyutai-api-key", "the query auth_id"] if self.keys else []
        places += ["Modal-Key and Modal-Secret"] if self.modal else []
        places += ["Authorization: Bearer or Token", "a websocket's subprotocols"] if self.keys or self.tokens else []
        places += ["the query token", f"the cookie {COOKIE}"] if self.tokens else []
        return "give it in one of: " + ", ".join(places)


def _bearer(headers: Mapping[str, str]) -> str | None:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() in SCHEMES else _of_subprotocols(headers)


def _of_subprotocols(headers: Mapping[str, str]) -> str | None:
    offered = [name.strip() for name in headers.get("sec-websocket-protocol", "").split(",")]
    for name in offered:
        if name.startswith(OPENAI_PROTOCOL):
            return name.removeprefix(OPENAI_PROTOCOL)
    return offered[1] if len(offered) > 1 and offered[0].lower() in SCHEMES else None


def _place(key: str, keys: Sequence[str]) -> int | None:
    """Which key it is, counted from 1. Compares with every one, so that the time says nothing."""
    found = None
    for number, candidate in enumerate(keys, 1):
        if _same(key, candidate):
            found = number
    return found


def _same(given: str, expected: str) -> bool:
    """In a time that depends on neither; digests, since compare_digest shows when lengths differ."""
    digests = (hashlib.sha256(text.encode(errors="surrogatepass")).digest() for text in (given, expected))
    return hmac.compare_digest(*digests)
