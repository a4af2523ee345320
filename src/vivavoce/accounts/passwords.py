"""Passwords: which are taken, and how they are kept (argon2id)."""

from __future__ import annotations

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from .errors import AccountsError

SHORTEST, LONGEST = 12, 128  # characters (NIST SP 800-63B: length counts, rules about kinds of characters do not)
FEWEST_DIFFERENT = 5  # characters
# What is checked where there is no account: the hash of 256 random bits that nobody knows, with today's effort.
NOBODYS = "$argon2id$v=19$m=65536,t=3,p=4$IM4tVuB/lIDdagn7cNcuzQ$R+tRhZ4or5yP00KKTt+qyGlkgpi9Pgm90iVWksSqXpg"


class Passwords:
    """Hashes and judges, about 50 ms and 64 MiB each (RFC 9106's second choice, argon2-cffi's default)."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()

    def hash(self, password: str) -> str:
        """What is kept."""
        return self._hasher.hash(_bytes(password))

    def right(self, kept: str | None, given: str) -> bool:
        """Whether it is the password; without an account (None) it takes as long to say no."""
        try:
            self._hasher.verify(kept or NOBODYS, _bytes(given))
        except (VerificationError, InvalidHashError):
            return False
        return kept is not None

    def outdated(self, kept: str) -> bool:
        """Whether it was hashed with less effort than is usual now."""
        return self._hasher.check_needs_rehash(kept)


def demand_good(password: str, email: str) -> None:
    """Raises AccountsError, which does not quote it, for a password that is guessed too soon."""
    if not SHORTEST <= len(password) <= LONGEST:
        seen = f"this one has {len(password)}"
        raise AccountsError("weak_password", f"a password has {SHORTEST} to {LONGEST} characters; {seen}")
    if len(set(password)) < FEWEST_DIFFERENT:
        raise AccountsError("weak_password", f"a password has at least {FEWEST_DIFFERENT} different characters")
    if email.lower() in password.lower() or password.lower() in email.lower():
        raise AccountsError("weak_password", "the password must not be the e-mail address")


def _bytes(password: str) -> bytes:
    return password.encode(errors="surrogatepass")
