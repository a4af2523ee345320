"""One stream's life: audio re-framed, tokens to words, pauses to turns, flush. Pure Python, deterministic."""

from vivavoce.session.profile import SttProfile
from vivavoce.session.session import SttSession

__all__ = ["SttProfile", "SttSession"]
