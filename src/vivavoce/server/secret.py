"""Whether the secret of tokens is long enough."""

from __future__ import annotations

import logging
import warnings

from jwt.warnings import InsecureKeyLengthWarning

from vivavoce.settings import ServeSettings

logger = logging.getLogger(__name__)
_GOOD_SECRET = 32  # bytes, for HS256 (RFC 7518)


def judge_secret(settings: ServeSettings, *, aloud: bool = True) -> None:
    """One line, or none, for a short secret, instead of a warning of the library at every place that uses it."""
    warnings.simplefilter("ignore", InsecureKeyLengthWarning)
    length = len(settings.jwt_secret.get_secret_value().encode()) if settings.jwt_secret else _GOOD_SECRET
    if aloud and length < _GOOD_SECRET:
        logger.warning("jwt_secret has %d bytes; one below %d can be guessed", length, _GOOD_SECRET)
