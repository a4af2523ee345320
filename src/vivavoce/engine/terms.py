"""Key terms: which pieces a stream's text is likely to go on with. Without torch: servers keep them.

The model alone decides whether a word begins, goes on or neither; a term has a say in which piece it is then. So no
term puts a word where the model hears none, and none takes one away. What a step has said cannot be taken back, and a
term's first piece begins other words too: it gets the boost once, the next one twice, as the term becomes more certain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import RESERVED, TEXT_PAD, WORD_BEGIN

SPAN = 100  # tokens, 8 s: who has not finished a term by then has left it
MOST_TIMES = 4  # the boost, for the fourth piece of a term and all behind it
SILENT, BEGINS, GOES_ON = range(3)  # kinds of tokens: no text, a word's first piece, a later one

Bonus = NDArray[np.float32]  # [tokens], what is added to their logits


@dataclass(frozen=True, slots=True)
class Term:
    """A key term in the model's own pieces."""

    tokens: tuple[int, ...]
    boost: float  # natural logarithm, for its first piece


def kinds_of(pieces: Sequence[str], size: int) -> NDArray[np.int8]:
    """The kind of each of `size` tokens that a model predicts; what is beyond its pieces is silent."""
    kinds = np.zeros(size, np.int8)
    for token, piece in enumerate(pieces[:size]):
        if token > TEXT_PAD and piece not in RESERVED:
            kinds[token] = BEGINS if piece.startswith(WORD_BEGIN) else GOES_ON
    return kinds


@dataclass(slots=True, eq=False)
class _Node:
    """The terms that begin alike."""

    bonus: float = 0.0  # of the piece that leads here
    next: dict[int, _Node] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Path:
    """A term whose first pieces the newest tokens are."""

    node: _Node
    age: int  # tokens since it began
    within: bool  # its last piece was the newest token, so that the word may go on


Place = tuple[_Path, ...]  # where a stream is in its terms


class Terms:
    """The terms of one stream, as a tree of their pieces.

    A place is a function of the newest `span` tokens. Between the words of a phrase silent tokens may stand; within a
    word they end it, as they end every word.
    """

    def __init__(self, terms: Sequence[Term], kinds: NDArray[np.int8], span: int = SPAN) -> None:
        assert terms, "a stream without terms has no tree of them"
        self._kinds, self._span, self._root = kinds, span, _Node()
        for term in terms:
            self._plant(term)
        self._anywhere = self._bonus([self._root])

    def after(self, place: Place, token: int) -> Place:
        """The place behind one more token."""
        kind = self._kinds[token] if 0 <= token < len(self._kinds) else SILENT
        lasting = [path for path in place if path.age < self._span]
        if kind == SILENT:
            return tuple(_Path(path.node, path.age + 1, within=False) for path in lasting if self._may_wait(path.node))
        going = [(path.node.next.get(token), path.age) for path in lasting if path.within or kind == BEGINS]
        if kind == BEGINS:
            going.append((self._root.next.get(token), 0))
        return tuple(_Path(node, age + 1, within=True) for node, age in going if node and node.next)

    def bonus(self, place: Place) -> Bonus:
        """What the next step's tokens get there, float32 [tokens]; not to be written to."""
        if not place:
            return self._anywhere
        within = self._bonus([path.node for path in place if path.within])
        waiting = self._bonus([path.node for path in place if not path.within])
        waiting[self._kinds == GOES_ON] = 0
        return np.maximum(self._anywhere, np.maximum(within, waiting))

    def _plant(self, term: Term) -> None:
        kinds = [self._kinds[token] for token in term.tokens]
        assert kinds and kinds[0] == BEGINS and SILENT not in kinds, f"{term} is no text of this model"
        node = self._root
        for number, token in enumerate(term.tokens, 1):
            node = node.next.setdefault(token, _Node())
            node.bonus = max(node.bonus, term.boost * min(number, MOST_TIMES))

    def _bonus(self, nodes: Sequence[_Node]) -> Bonus:
        bonus = np.zeros(len(self._kinds), np.float32)
        for node in nodes:
            for token, following in node.next.items():
                bonus[token] = max(bonus[token], following.bonus)
        return bonus

    def _may_wait(self, node: _Node) -> bool:
        return any(self._kinds[token] == BEGINS for token in node.next)


class Guide:
    """Follows one stream through its terms."""

    def __init__(self, terms: Terms, said: Sequence[int] = ()) -> None:
        """`said`: the tokens so far, but for the newest one, which is the next that is heard."""
        self._terms, self._place = terms, Place()
        self._ahead = list[Place]()
        for place in self._places(said):
            self._place = place

    def follow(self, heard: Sequence[int]) -> list[Bonus]:
        """The bonus of each step that hears these tokens; they count as heard once they are kept."""
        self._ahead = list(self._places(heard))
        return [self._terms.bonus(place) for place in self._ahead]

    def keep(self, count: int) -> None:
        """The first `count` of the tokens that were followed last stand."""
        self._place = self._ahead[count - 1]

    def _places(self, tokens: Sequence[int]) -> Iterator[Place]:
        place = self._place
        for token in tokens:
            place = self._terms.after(place, int(token))
            yield place
