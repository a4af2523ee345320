"""Which model a caller of a service's dialect means, and whether it can be told what the caller wants to tell it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from starlette.datastructures import QueryParams

from vivavoce.core import Fault, KeyTerm, UnsupportedError
from vivavoce.runtime import Runtime, SpeechRuntime
from vivavoce.session.key_terms import given, spell
from vivavoce.session.language import check_language, code_of
from vivavoce.settings import SpeechModule
from vivavoce.settings.modules import Module

from ..errors import Refused

M = TypeVar("M", Module, SpeechModule)
R = TypeVar("R", Runtime, SpeechRuntime)


@dataclass(frozen=True)
class Offer(Generic[M, R]):
    """One model that is served."""

    module: M
    runtime: R

    @property
    def name(self) -> str:
        """The model's own, or its module's label while it loads."""
        return self.runtime.info.name if self.runtime.info else self.module.label


Hearing = Offer[Module, Runtime]
Speaking = Offer[SpeechModule, SpeechRuntime]
O = TypeVar("O", bound=Offer[Any, Any])  # noqa: E741 (an offer)


def choose(offers: Sequence[O], name: str, stands_for_ours: Callable[[str], bool]) -> O:
    """The model of that name or label. A name of the service's own models stands for the first that is served.

    Raises Refused(UNKNOWN_MODEL) that names those there are.
    """
    for offer in offers:
        if name in (offer.name, offer.module.label):
            return offer
    if stands_for_ours(name):
        return offers[0]
    there = ", ".join(dict.fromkeys(offer.name for offer in offers))
    raise Refused(
        Fault.UNKNOWN_MODEL,
        "model_not_found",
        f"no model is called {name[:64]!r}",
        f"there are: {there}",
        param="model",
    )


def key_terms(param: str, offer: Hearing, terms: Iterable[str | KeyTerm]) -> tuple[KeyTerm, ...]:
    """What the stream is told to expect. Raises Refused for what cannot be a term, or what the model cannot write."""
    try:
        found = given(term for term in terms if isinstance(term, KeyTerm) or term.strip())
    except UnsupportedError as error:
        raise impossible(param, f"{param}: {error}") from None
    if offer.runtime.info:
        try:
            spell(found, offer.runtime.info.tokenizer, offer.runtime.info.pieces)
        except UnsupportedError as error:
            raise unsupported(param, f"{param}: {error}") from None
    return found


def once(query: QueryParams, many: Collection[str] = ()) -> None:
    """Raises Refused for a parameter that stands there more than once and is not one of the `many`."""
    for name in query:
        if name not in many and (count := len(query.getlist(name))) > 1:
            raise impossible(name, f"the parameter {name[:64]} is there {count} times")


def must_hear(offer: Hearing, param: str, language: str | None) -> None:
    """Raises Refused unless the model always hears that language."""
    if offer.runtime.info is None or not language:
        return
    try:
        check_language(param, language, offer.name, offer.runtime.info.languages)
    except UnsupportedError as error:
        raise unsupported(param, str(error)) from None


def knows(offer: Hearing | Speaking, param: str, language: str | None) -> None:
    """Raises Refused if the model says that it does not know that language; of several, it hears by itself which it is.

    For protocols whose clients always name one.
    """
    known = offer.runtime.info.languages if offer.runtime.info else ()
    if language and known and code_of(language) not in known:
        raise unsupported(param, f"{param} {language[:32]}: {offer.name} does not know it; it knows {', '.join(known)}")


def unsupported(param: str, why: str, hint: str = "") -> Refused:
    """A wish that is understood and cannot be met."""
    return Refused(Fault.UNSUPPORTED, "unsupported", why, hint, param=param)


def impossible(param: str, why: str, hint: str = "") -> Refused:
    """A parameter that has no such value, or does not exist."""
    return Refused(Fault.INVALID_PARAMETER, "invalid_parameter", why, hint, param=param)
