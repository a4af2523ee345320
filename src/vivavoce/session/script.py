"""When which token of the text is fed to a speaking model: the script machine of spec/model.md §4.2."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from vivavoce.core import TEXT_BOUNDARY, TEXT_PAD
from vivavoce.session.profile import TtsProfile
from vivavoce.session.text import Entry

SPEAKER_TOKENS = (1, 2)  # of the main speaker's turn, of the other's
_NOBODY = -1  # nobody has spoken
_NOTHING = -1  # in the second text stream: embedded as zero


@dataclass(frozen=True, slots=True)
class ScriptState:
    """All that a machine knows besides the entries that it has not taken; another one goes on from it."""

    remaining: int  # more steps that may say nothing
    forced: int  # more steps that must say nothing
    queued: tuple[int, ...] = ()  # pieces of the word that is being fed
    ahead: tuple[int, ...] = ()  # pieces of words to come, for the second text stream
    speaker: int = _NOBODY  # of the newest word taken
    taken: int = 0  # entries
    steps: int = 0
    end_step: int | None = None  # at which the model asked for a word and there was none any more

    def finished(self, profile: TtsProfile) -> bool:
        """Whether the last frame of audio has been given."""
        return self.end_step is not None and self.steps >= self.end_step + profile.tail_steps


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An entry as the model is fed it."""

    tokens: Sequence[int]  # none: a break
    padding: int  # steps after it that must say nothing
    speaker: int


class ScriptMachine:
    """Turns what the model's text head samples into what the model is fed, one stream's step at a time.

    The head only says whether a word may start; which one is decided here. The tokens depend on the entries and on the
    sampled ids, never on when the entries came: a step that may take a word waits (`ready`) until that word and those
    that the second text stream looks ahead to are known, or that none will come.

    `encode` gives the ids of a word (sentencepiece). With `state` the machine goes on where another one stood; its
    first entry is then the one that follows the `taken` ones.
    """

    def __init__(
        self, profile: TtsProfile, encode: Callable[[str], Sequence[int]], state: ScriptState | None = None
    ) -> None:
        begin = state or ScriptState(profile.initial_padding, profile.initial_padding)
        self._profile, self._encode = profile, encode
        self._remaining, self._forced = begin.remaining, begin.forced
        self._queued, self._ahead = deque(begin.queued), deque(begin.ahead)
        self._speaker, self._taken, self._steps, self._end_step = (
            begin.speaker, begin.taken, begin.steps, begin.end_step,
        )  # fmt: skip
        self._newest_speaker = begin.speaker  # of all entries
        self._waiting = deque[_Waiting]()
        self._ended = False

    def add(self, entry: Entry) -> None:
        """One more word or break, before `end`."""
        assert not self._ended, "an entry came after the end"
        if not entry.text:
            self._waiting.append(_Waiting((), entry.pause, self._newest_speaker))
            return
        tokens = list(self._encode(entry.text))
        if self._profile.multi_speaker and entry.speaker != self._newest_speaker:
            tokens.insert(0, SPEAKER_TOKENS[entry.speaker])
        self._newest_speaker = entry.speaker
        between = self._profile.padding_between
        padding = max(0, between + len(tokens) - 1) if between > 0 else 0
        self._waiting.append(_Waiting(tokens, padding, entry.speaker))

    def end(self) -> None:
        """No more entries will come."""
        self._ended = True

    @property
    def ready(self) -> bool:
        """Whether the next step can be run: there is something to say, and all that the step may take is known."""
        if self._silent:
            return False
        if self._ended or self._queued or self._forced:
            return True
        if not self._waiting:
            return False
        lookahead = self._profile.lookahead if self._waiting[0].tokens else 0
        return not lookahead or self._tokens_ahead(lookahead, 1) is not None

    @property
    def finished(self) -> bool:
        """Whether the last frame of audio has been given; at once where the text has ended without an entry."""
        return (self._ended and self._silent) or self.state.finished(self._profile)

    @property
    def _silent(self) -> bool:
        """There has been no entry: then there is no audio either, not even that of the initial padding."""
        return not (self._taken or self._waiting)

    @property
    def state(self) -> ScriptState:
        """Where the machine stands after the newest step."""
        return ScriptState(
            self._remaining, self._forced, tuple(self._queued), tuple(self._ahead),
            self._speaker, self._taken, self._steps, self._end_step,
        )  # fmt: skip

    def act(self, sampled: int) -> int:
        """The token to feed at this step and the next, given the id that the text head sampled; only while `ready`."""
        assert self.ready, "a step was run before its text was known"
        token = self._decide(sampled)
        if token == TEXT_BOUNDARY:
            token = self._take() if self._waiting else self._run_out()
        if token == TEXT_PAD:
            self._remaining = max(0, self._remaining - 1)
            self._forced = max(0, self._forced - 1)
            token = self._next_queued()
        self._steps += 1
        return self._with_second_stream(token) if self._profile.lookahead else token

    def _decide(self, sampled: int) -> int:
        """Whether a word starts: the model's wish within what is allowed."""
        if self._queued or self._forced:
            return TEXT_PAD
        if not self._remaining:
            return TEXT_BOUNDARY
        return TEXT_BOUNDARY if sampled == TEXT_BOUNDARY else TEXT_PAD

    def _take(self) -> int:
        entry = self._waiting.popleft()
        self._taken += 1
        self._forced, self._speaker = entry.padding, entry.speaker
        if not entry.tokens:
            return TEXT_PAD
        self._queued.extend(entry.tokens)
        if self._profile.lookahead:
            self._ahead.extend(self._tokens_ahead(self._profile.lookahead, 0) or ())
        self._remaining = self._profile.max_padding
        return TEXT_BOUNDARY

    def _run_out(self) -> int:
        if self._end_step is not None:
            return TEXT_PAD
        self._end_step = self._steps
        return TEXT_BOUNDARY if self._profile.lookahead else TEXT_PAD

    def _next_queued(self) -> int:
        return self._queued.popleft() if self._queued else TEXT_PAD

    def _tokens_ahead(self, count: int, begin: int) -> Sequence[int] | None:
        """The tokens of the so-manieth word from the waiting entry `begin` on."""
        for number, tokens in enumerate(self._words_waiting(begin), 1):
            if number == count:
                return tokens
        return None

    def _words_waiting(self, begin: int) -> Iterator[Sequence[int]]:
        return (entry.tokens for number, entry in enumerate(self._waiting) if number >= begin and entry.tokens)

    def _with_second_stream(self, token: int) -> int:
        """Both text streams in one id. A marker goes to the second one, and the word's first piece beside it."""
        second = _NOTHING
        if token == TEXT_BOUNDARY:
            second, token = TEXT_BOUNDARY, self._next_queued()
        elif self._ahead:
            second = self._ahead.popleft()
        return (second + 1) * (self._profile.text_card + 1) + token
