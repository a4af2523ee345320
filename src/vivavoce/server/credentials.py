"""Where a caller may put a secret, and who may come in with it.

The first place that holds something decides; a wrong secret there is not made good by a right one elsewhere:
header `kyutai-api-key`, `x-api-key` (Gradium's, which takes a token too), `Authorization: Bearer` (or `Token`,
Deepgram's word for it), a websocket's subprotocols (for browsers, which can set no header: `token, KEY` as Deepgram has
it, `openai-insecure-api-key.KEY` as OpenAI has it),
`Modal-Key` with `Modal-Secret`, query `auth_id`, query `token`, the cookies of COOKIES. A place is looked at
only if the server is set up for what it carries.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from vivavoce.accounts import ISSUER, KEY_PREFIX
from vivavoce.core import Fault, Refused

from .tokens import Tokens

# Better Auth keeps the token in `session_data`, and something opaque in `session_token`, where the fork's server looks
# for it; over https the names begin with __Secure-.
COOKIES = (
    "__Secure-better-auth.session_data", "better-auth.session_data",
    "__Secure-better-auth.session_token", "better-auth.session_token",
)  # fmt: skip
QUERY_SECRETS = ("auth_id", "token")
SCHEMES = ("bearer", "token")
OPENAI_PROTOCOL = "openai-insecure-api-key."


@dataclass(frozen=True)
class Entrant:
    """Who comes: a `name` that holds no secret ("key 2", "user ab12", "anyone"), unless the accounts have to say it."""

    name: str = ""
    key: str | None = None  # an account's, not yet looked up
    session: str | None = None  # of an account, by a token that is good as far as can be seen


@dataclass(frozen=True)
class Credentials:
    """What the server accepts; nothing at all means that everyone may come in."""

    keys: Sequence[str] = ()
    tokens: Tokens | None = None
    modal: tuple[str, str] | None = None  # Modal-Key and Modal-Secret
    accounts: bool = False  # whether there are accounts, which have keys and tokens of their own
    required: bool = True

    def who(self, connection: HTTPConnection) -> Entrant:
        """The caller. Raises Refused."""
        if not self.required:
            return Entrant("anyone")
        headers, query = connection.headers, connection.query_params
        if self._keyed and (key := headers.get("kyutai-api-key")) is not None:
            return self._key(key)
        found = headers.get("x-api-key", _bearer(headers))
        if found is not None and (self._keyed or self.tokens):
            return self._key_or_token(found)
        if self.modal and ("modal-key" in headers or "modal-secret" in headers):
            return self._modal(headers.get("modal-key", ""), headers.get("modal-secret", ""))
        if self._keyed and (key := query.get("auth_id")) is not None:
            return self._key(key)
        if (token := query.get("token")) and (self.tokens or self.accounts):
            return self._account_key(token) or self._token(token)
        cookie = next((value for name in COOKIES if (value := connection.cookies.get(name))), None)
        if cookie and self.tokens:
            return self._token(cookie)
        raise Refused(Fault.UNAUTHENTICATED, "missing_credentials", "no key or token was given", self._places())

    @property
    def _keyed(self) -> bool:
        return bool(self.keys) or self.accounts

    def _key_or_token(self, bearer: str) -> Entrant:
        number = _place(bearer, self.keys)
        if number is None and self.tokens:
            return self._account_key(bearer) or self._token(bearer)
        return self._key(bearer)

    def _key(self, key: str) -> Entrant:
        number = _place(key, self.keys)
        if number is not None:
            return Entrant(f"key {number}")
        if found := self._account_key(key):
            return found
        raise Refused(Fault.UNAUTHENTICATED, "invalid_key", "the key is not one of this server's")

    def _account_key(self, key: str) -> Entrant | None:
        return Entrant(key=key) if self.accounts and key.startswith(KEY_PREFIX) else None

    def _token(self, token: str) -> Entrant:
        if self.tokens is None:
            raise Refused(Fault.UNAUTHENTICATED, "invalid_key", "the key is not one of this server's")
        claimed = self.tokens.read(token)
        if self.accounts and claimed.issuer == ISSUER:
            return Entrant(session=claimed.session)
        return Entrant(claimed.user)

    def _modal(self, key: str, secret: str) -> Entrant:
        assert self.modal is not None
        if not _same(key, self.modal[0]) & _same(secret, self.modal[1]):  # `&` compares both, whatever the first says
            raise Refused(Fault.UNAUTHENTICATED, "invalid_key", "Modal-Key and Modal-Secret are not this server's")
        return Entrant("modal")

    def _places(self) -> str:
        places = ["the header kyutai-api-key", "the query auth_id"] if self._keyed else []
        places += ["Modal-Key and Modal-Secret"] if self.modal else []
        if self._keyed or self.tokens:
            places += ["x-api-key", "Authorization: Bearer or Token", "a websocket's subprotocols"]
        places += ["the query token"] if self.tokens or self.accounts else []
        places += [f"the cookie {COOKIES[-1]}"] if self.tokens else []
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
