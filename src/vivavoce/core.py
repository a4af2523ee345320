"""The vocabulary: constants, words, events and errors. Every other room imports this one; it imports none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any, Literal

SAMPLE_RATE = 24_000  # Hz, mono
FRAME_SIZE = 1_920  # samples in a frame
FRAME_RATE = 12.5  # frames in a second
FRAME_SECONDS = FRAME_SIZE / SAMPLE_RATE

TEXT_BOUNDARY = 0  # "a word starts at the next step"; also closes the word before
TEXT_END = 2  # sentencepiece </s>
TEXT_PAD = 3  # "nothing is said at this step"
PAUSE_SECONDS = (0.5, 1.0, 2.0, 3.0)  # for which the semantic VAD's heads expect no word to begin

WORD_BEGIN = "▁"  # of a piece that begins a word
RESERVED = frozenset({"<unk>", "<s>", "</s>", "<pad>"})  # pieces that are no text, in any place: tokenizers differ

VAD_HEAD = "x-vad-head"  # header of our answer to moshi's clients: which head tells the end of a turn


def seconds(samples: int) -> float:
    """Duration of that many samples at 24 kHz."""
    return samples / SAMPLE_RATE


Suspicion = Literal["silence", "steady", "repeated"]  # why nobody can have said a word: session/guard.py


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word; times in seconds on the stream's own clock."""

    text: str
    start: float
    stop: float
    confidence: float  # geometric mean of the probabilities of its tokens, 0 to 1
    suspect: Suspicion | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a recording says; iterates over its words."""

    words: tuple[Word, ...]
    duration: float  # seconds of audio
    turns: tuple[float, ...] = ()  # seconds at which the semantic VAD heard a turn end
    started: tuple[float, ...] = ()  # seconds at which turns began
    resumed: tuple[float, ...] = ()  # seconds at which turns that had ended went on
    dropped: tuple[Word, ...] = ()  # suspects that are not among the words, as was asked for

    @property
    def text(self) -> str:
        """The words with spaces between."""
        return " ".join(word.text for word in self.words)

    def __iter__(self) -> Iterator[Word]:
        return iter(self.words)

    def __len__(self) -> int:
        return len(self.words)


@dataclass(frozen=True, slots=True)
class Flush:
    """ "Give me everything I said so far, now": stands among the chunks of a stream, answered by `Flushed`.

    Of speech to text it wants the words, of text to speech the audio, to its end.
    """

    id: int | str


@dataclass(frozen=True, slots=True)
class KeyTerm:
    """A word or a phrase that a stream is likely to hear, as the model would write it."""

    text: str
    boost: float = 0.5  # it is begun in the place of a word that is up to e^boost times as probable


# --- events: what a session says while it listens ---


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text, ready to be concatenated; `start` is where the model heard it begin."""

    text: str
    start: float
    logprob: float | None = field(default=None, compare=False)  # natural; None where it was not told


@dataclass(frozen=True, slots=True)
class WordStarted:
    """All pieces of a word are known; where it stops is not known yet."""

    text: str
    start: float
    confidence: float
    suspect: Suspicion | None = None


@dataclass(frozen=True, slots=True)
class WordEnded:
    """A word is complete."""

    word: Word


@dataclass(frozen=True, slots=True)
class WordDropped:
    """A suspect, with its reason, in the place of all that would have been told of it: it was asked for so."""

    word: Word


@dataclass(frozen=True, slots=True)
class Vad:
    """One step, and its semantic VAD: per head, the probability that no word starts within its horizon."""

    time: float  # of all the audio stepped so far; it stands still over silence that was inserted
    pauses: tuple[float, ...]  # empty for a model without heads


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """The speaker has begun: told with the first piece of a turn's first word, `time` being where that was said."""

    time: float


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The speaker has finished: the chosen VAD head passed its threshold after at least one word."""

    time: float


@dataclass(frozen=True, slots=True)
class TurnResumed:
    """The turn that had ended goes on: a word began at `time`, within the pause that the VAD head had expected."""

    time: float


@dataclass(frozen=True, slots=True)
class Flushed:
    """Every word, or all audio, of what came before `flush(id)` has been given."""

    id: int | str


@dataclass(frozen=True, slots=True)
class Healed:
    """The model had gone silent over speech and its context was begun afresh; `silent` seconds gave no word."""

    time: float
    silent: float


Event = Token | WordStarted | WordEnded | WordDropped | Vad | TurnStarted | TurnEnded | TurnResumed | Flushed | Healed


# --- events: what a session says while it speaks ---


@dataclass(frozen=True, slots=True)
class WordSpoken:
    """A word of the text has its place in the audio, which may still be to come; times in seconds of that audio."""

    text: str
    start: float
    stop: float  # where the next word or break starts, or the text ends


@dataclass(frozen=True, slots=True, eq=False)
class Speech:
    """The next frame of audio."""

    samples: Any  # float32 [1920], a numpy array, within -0.99 and 0.99


@dataclass(frozen=True, slots=True)
class Cleared:
    """The stream was cleared: what comes behind this was not asked for before."""

    time: float  # seconds of audio given so far


SpeechEvent = WordSpoken | Speech | Flushed | Cleared


@dataclass(frozen=True, slots=True, eq=False)
class Utterance:
    """What a text became; iterates over its words."""

    samples: Any  # float32 [n] at 24 kHz, a numpy array
    words: tuple[WordSpoken, ...]

    @property
    def duration(self) -> float:
        """Seconds of audio."""
        return seconds(len(self.samples))

    @property
    def text(self) -> str:
        """The words with spaces between."""
        return " ".join(word.text for word in self.words)

    def __iter__(self) -> Iterator[WordSpoken]:
        return iter(self.words)

    def __len__(self) -> int:
        return len(self.words)


# --- errors ---


class ExitCode(IntEnum):
    """What the command returns to the shell, one code for each kind of failure."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    FILE_NOT_FOUND = 3
    INVALID_AUDIO = 4
    CHECKPOINT = 5
    DOWNLOAD = 6
    UNSUPPORTED = 7
    INTERRUPTED = 130


class Fault(Enum):
    """Why a server refuses or ends a stream: close code of a websocket, status of HTTP, whether to try again, and what
    the command returns, which is what it returns for the same without a server.

    The one table for server, clients and documentation. 4000 to 4006 are those of the fork's clients
    (spec/features.md §1.21).
    """

    NORMAL = (1000, 200, False, "the stream has ended")
    GOING_AWAY = (1001, 503, True, "the server is shutting down; connect again")
    PROTOCOL = (1002, 400, False, "the websocket protocol was violated")
    TOO_LARGE = (1009, 413, False, "the message is larger than this server takes")
    INTERNAL = (1011, 500, True, "the server failed; its log says why")
    OVERLOADED = (1013, 503, True, "one more stream would slow down those that run")
    CAPACITY = (4000, 503, True, "every slot is taken")
    UNAUTHENTICATED = (4001, 401, False, "no valid key or token was given")
    FORBIDDEN = (4001, 403, False, "the account may not use this server")
    SESSION_TIMEOUT = (4002, 408, False, "the longest session has been reached")
    INVALID_MESSAGE = (4003, 400, False, "the server cannot read what was sent")
    RATE_LIMITED = (4004, 429, True, "too much was sent or asked in too short a time")
    UNAVAILABLE = (4005, 503, True, "the engine is loading or broken")
    CLIENT_TIMEOUT = (4006, 408, True, "nothing was heard from the client for too long")
    SLOW_READER = (4008, 408, True, "the client does not read what it is sent")
    UNKNOWN_SESSION = (4009, 404, False, "the session to resume does not exist any more")
    INVALID_PARAMETER = (4003, 400, False, "a parameter has a value that cannot be", ExitCode.UNSUPPORTED)
    UNKNOWN_MODEL = (4003, 404, False, "no model has this name", ExitCode.UNSUPPORTED)
    UNKNOWN_VOICE = (4003, 400, False, "no voice has this name", ExitCode.UNSUPPORTED)
    UNSUPPORTED = (4003, 400, False, "the model cannot do what was asked", ExitCode.UNSUPPORTED)
    UNPROCESSABLE = (4010, 422, False, "the engine fails at what this stream sent")
    QUOTA_EXCEEDED = (4011, 429, False, "what this key or account may use is used up")

    def __init__(
        self, close_code: int, status: int, retry: bool, meaning: str, exit_code: ExitCode = ExitCode.FAILURE
    ) -> None:
        self.close_code, self.status, self.retry, self.meaning = close_code, status, retry, meaning
        self.exit_code = exit_code


class VivavoceError(Exception):
    """Base of all errors that a user can cause or meet; the message is one clear line."""

    exit_code = ExitCode.FAILURE


class AudioNotFoundError(VivavoceError):
    """The recording does not exist or may not be read."""

    exit_code = ExitCode.FILE_NOT_FOUND


class InvalidAudioError(VivavoceError):
    """The input is not usable audio: empty, truncated, no audio track, NaN samples, an unknown format."""

    exit_code = ExitCode.INVALID_AUDIO


class CheckpointError(VivavoceError):
    """A checkpoint, config or tokenizer is missing, unreadable, or not what the model needs."""

    exit_code = ExitCode.CHECKPOINT


class DownloadError(VivavoceError):
    """A model could not be fetched from the hub."""

    exit_code = ExitCode.DOWNLOAD


class UnsupportedError(VivavoceError):
    """The request is clear but this model, device or build cannot do it."""

    exit_code = ExitCode.UNSUPPORTED


class UnknownVoiceError(VivavoceError):
    """No voice has this name, or what lies there is none that this model can speak with."""

    exit_code = ExitCode.UNSUPPORTED


class StreamError(VivavoceError):
    """A stream was refused or has ended for a reason of the table; `retry_after` in seconds where one is known."""

    def __init__(self, fault: Fault, detail: str = "", retry_after: float | None = None) -> None:
        super().__init__(detail or fault.meaning)
        self.fault, self.retry_after, self.exit_code = fault, retry_after, fault.exit_code


class Refused(StreamError):  # noqa: N818 (what it is, as the field says it)
    """A refusal that says more than its fault: a machine-readable `code`, a `hint` on what to do, the `param`."""

    def __init__(
        self,
        fault: Fault,
        code: str,
        detail: str,
        hint: str = "",
        retry_after: float | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(fault, detail, retry_after)
        self.code, self.hint, self.param = code, hint, param
