"""When a word is known, and when turns begin and end: `python bench/events.py --shared ../shared`.

The embedded model hears strings of takes that it never learned from. An event is told when the frame has been heard
that gives it, so times are of the audio, whatever the machine. Appends a line to bench/results/events.jsonl.
"""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
from held import held, options, record

from vivavoce.checkpoints import load_stt
from vivavoce.core import FRAME_SECONDS, SAMPLE_RATE, Event, Token, TurnEnded, TurnStarted, Vad, WordEnded, WordStarted
from vivavoce.session.activity import Began, VoiceActivity
from vivavoce.train import evaluate
from vivavoce.train.evaluate import Utterance
from vivavoce.transcriber import Transcriber

SEEDS = (1, 2, 3, 4)
PAUSES = (0.3, 3.0)  # seconds between words, for turns: thinking, and having said it
Timed = list[tuple[float, Event]]


def main() -> None:
    given = options(__doc__, "events.jsonl")
    takes, model = held(given.shared), load_stt(device="cpu")
    connected = [string for seed in SEEDS for string in evaluate.strung(takes, seed)]
    apart = [string for seed in SEEDS for string in evaluate.strung(takes, seed, gap=PAUSES)]
    line = {"model": model.config.name, **words(model, connected)}
    line["heads"] = {head: turns(model, apart, head) for head in range(4)}
    record(line, given.out)


def listen(model: object, strings: list[Utterance], head: int) -> list[Timed]:
    """Of each string, its events and the seconds of audio that had been heard when they were told."""
    told, frames = [Timed() for _ in strings], [0] * len(strings)
    transcriber = Transcriber(model, batch_size=16, vad_head=head)  # type: ignore[arg-type]
    for number, event in transcriber.streams([string.audio] for string in strings):
        frames[number] += isinstance(event, Vad)
        told[number].append((frames[number] * FRAME_SECONDS, event))
    return told


def words(model: object, strings: list[Utterance]) -> dict[str, object]:
    """Milliseconds from a word's start to its first piece, to its text being known, and to its end being known."""
    found = defaultdict[str, list[float]](list)
    for told in listen(model, strings, 2):
        known = {event.start: at for at, event in told if isinstance(event, WordStarted)}
        found["piece"] += [at - event.start for at, event in told if isinstance(event, Token)]
        found["known"] += [at - event.start for at, event in told if isinstance(event, WordStarted)]
        ended = [(at, event.word.start) for at, event in told if isinstance(event, WordEnded)]
        found["ended"] += [at - start for at, start in ended]
        found["earlier"] += [at - known[start] for at, start in ended]
    return {"words": len(found["known"]), **{name: spread(values) for name, values in found.items()}}


def turns(model: object, strings: list[Utterance], head: int) -> dict[str, object]:
    """How many of each event; and from the first sound to the start, by the words and by loudness alone."""
    count, by_words, by_sound = Counter[str](), list[float](), list[float]()
    for string, told in zip(strings, listen(model, strings, head), strict=True):
        count.update(type(event).__name__ for _, event in told if not isinstance(event, Vad | Token))
        onset = string.words[0][1]
        by_words += [at - onset for at, event in told if isinstance(event, TurnStarted)][:1]
        began = (event for event in VoiceActivity().push(string.audio) if isinstance(event, Began))
        by_sound.append(next(began).known / SAMPLE_RATE - onset)
    kinds = {name: count[name] for name in ("WordEnded", TurnStarted.__name__, TurnEnded.__name__, "TurnResumed")}
    return {**kinds, "start_by_words": spread(by_words), "start_by_sound": spread(by_sound)}


def spread(values: list[float]) -> dict[str, int]:
    """Milliseconds."""
    parts = np.percentile(values, (50, 90, 100))
    return dict(zip(("p50", "p90", "most"), (round(1000 * part) for part in parts), strict=True))


if __name__ == "__main__":
    main()
