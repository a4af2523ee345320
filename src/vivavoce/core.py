"""The vocabulary: constants, words, events and errors. Every other room imports this one; it imports none."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

SAMPLE_RATE = 24_000  # Hz, mono
FRAME_SIZE = 1_920  # samples in a frame
FRAME_RATE = 12.5  # frames in a second
FRAME_SECONDS = FRAME_SIZE / SAMPLE_RATE

TEXT_BOUNDARY = 0  # "a word starts at the next step"; also closes the word before
TEXT_END = 2  # sentencepiece </s>
TEXT_PAD = 3  # "nothing is said at this step"


def seconds(samples: int) -> float:
    """Duration of that many samples at 24 kHz."""
    return samples / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word; times in seconds on the stream's own clock."""

    text: str
    start: float
    stop: float
    confidence: float  # geometric mean of the probabilities of its tokens, 0 to 1


@dataclass(frozen=True, slots=True)
class Flush:
    """ "Give me everything I said so far, now": stands among the chunks of a stream, answered by `Flushed`."""

    id: int | str


# --- events: what a session says while it listens ---


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text, ready to be concatenated; `start` is where the model heard it begin."""

    text: str
    start: float


@dataclass(frozen=True, slots=True)
class WordStarted:
    """All pieces of a word are known; where it stops is not known yet."""

    text: str
    start: float
    confidence: float


@dataclass(frozen=True, slots=True)
class WordEnded:
    """A word is complete."""

    word: Word


@dataclass(frozen=True, slots=True)
class Vad:
    """Semantic VAD of one step: per head, the probability that no word starts within its horizon."""

    time: float
    pauses: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The speaker has finished: the chosen VAD head passed its threshold after at least one word."""

    time: float


@dataclass(frozen=True, slots=True)
class Flushed:
    """Every word spoken before `flush(id)` has been given."""

    id: int | str


Event = Token | WordStarted | WordEnded | Vad | TurnEnded | Flushed


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
