"""What key terms do to the embedded model: `python bench/keyterms.py --shared ../shared`.

Takes of the digit corpus that it never learned from, in noise, strung together; every other one chooses the boost
(--half choose), the rest are reported. One word as term, each of the ten in turn; a phrase, the five words in the midst
of a string, as term of that string and of one that does not say it. Words where none are said. Prints a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import jiwer

from vivavoce.checkpoints import load_stt
from vivavoce.core import KeyTerm
from vivavoce.train import evaluate
from vivavoce.train.corpus import Request
from vivavoce.train.evaluate import Utterance
from vivavoce.train.voices import source
from vivavoce.transcriber import Transcriber, recording

HELD = (5, 6, 7)  # takes
NOISE = (5, 0)  # dB
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LENGTH = 15  # words of a string; half of a speaker's takes are so many
PHRASE = range(3, 8)  # of them


@dataclass
class Count:
    """Words that are in the term, and the others."""

    said: int = 0
    heard: int = 0
    others: int = 0
    others_wrong: int = 0  # those put in are too

    def add(self, words: Sequence[str], own: Sequence[bool], heard: Sequence[str]) -> None:
        told = jiwer.process_words(" ".join(words), " ".join(heard))
        right = {
            place
            for chunk in told.alignments[0]
            if chunk.type == "equal"
            for place in range(chunk.ref_start_idx, chunk.ref_end_idx)
        }
        self.said += sum(own)
        self.heard += sum(own[place] for place in right)
        self.others += len(words) - sum(own)
        self.others_wrong += sum(not own[place] for place in range(len(words)) if place not in right) + told.insertions

    def percent(self) -> dict[str, float]:
        return {"recall": 100 * self.heard / self.said, "others": 100 * self.others_wrong / self.others}


def hear(transcriber: Transcriber, strings: Sequence[Utterance], terms: Sequence[KeyTerm]) -> list[list[str]]:
    told = dict(transcriber.transcribe_all([recording(string.audio) for string in strings], key_terms=terms))
    return [[word.text for word in told[index]] for index in range(len(strings))]  # type: ignore[union-attr]


def texts(string: Utterance) -> list[str]:
    return [text for text, _, _ in string.words]


def one_word(transcriber: Transcriber, strings: Sequence[Utterance], boosts: Sequence[float]) -> dict[str, Count]:
    """By boost; 0 is without a term."""
    found = {f"{boost:g}": Count() for boost in (0.0, *boosts)}
    plain = hear(transcriber, strings, [])
    for word in DIGITS:
        for boost in (0.0, *boosts):
            told = hear(transcriber, strings, [KeyTerm(word, boost)]) if boost else plain
            for string, heard in zip(strings, told, strict=True):
                words = texts(string)
                found[f"{boost:g}"].add(words, [other == word for other in words], heard)
    return found


def phrases(transcriber: Transcriber, strings: Sequence[Utterance], boosts: Sequence[float]) -> dict[str, Count]:
    """By boost, of a phrase that is said; "not said" before it, of one that another string says."""
    found: dict[str, Count] = {}
    for number, string in enumerate(strings):
        words = texts(string)
        own = [place in PHRASE for place in range(len(words))]
        other = texts(strings[(number + 1) % len(strings)])
        for name, of in (("", words), ("not said ", other)):
            phrase = " ".join(of[place] for place in PHRASE)
            for boost in (0.0, *boosts):
                (heard,) = hear(transcriber, [string], [KeyTerm(phrase, boost)] if boost else [])
                found.setdefault(f"{name}{boost:g}", Count()).add(words, own, heard)
    return found


def nothing_said(
    transcriber: Transcriber, recordings: Sequence[Utterance], boosts: Sequence[float]
) -> dict[str, float]:
    """Words heard where none are, on average over the ten terms, by boost."""
    plain = sum(map(len, hear(transcriber, recordings, [])))
    found = {"0": float(plain)}
    for boost in boosts:
        told = [sum(map(len, hear(transcriber, recordings, [KeyTerm(word, boost)]))) for word in DIGITS]
        found[f"{boost:g}"] = sum(told) / len(told)
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--shared", type=Path, required=True)
    options.add_argument("--half", choices=("choose", "report"), default="report")
    options.add_argument("--boosts", type=float, nargs="+", default=[0.5, 1.0, 2.0])
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        request = Request(Path(folder), given.shared, 0)
        jobs = sorted(source("fsdd")(request), key=lambda job: job.key)
        takes = [clip for job in jobs if int(job.key.rsplit("_", 1)[-1]) in HELD for clip in job.make()]
        speech = [clip for job in source("speech")(request) for clip in job.make() if clip.held]
    takes = takes[given.half == "report" :: 2]
    transcriber = Transcriber(load_stt(device="cpu"), batch_size=16)
    line: dict[str, object] = {"model": transcriber.name, "half": given.half, "takes": len(takes)}
    for level in NOISE:
        strings = [
            string
            for seed in (1, 2)
            for string in evaluate.noisy(evaluate.strung(takes, seed, LENGTH), level, seed=seed)
        ]
        for name, measured in (("word", one_word), ("phrase", phrases)):
            counts = measured(transcriber, strings, given.boosts)
            line[f"{name}, {level} dB"] = {boost: asdict(one) | one.percent() for boost, one in counts.items()}
            print(name, level, *(f"{key}: {one.percent()}" for key, one in counts.items()), sep="\n  ", flush=True)
    if given.half == "report":
        quiet = [Utterance(audio, (), "") for audio in evaluate.silence_and_noise(seed=1)]
        line["silence and noise"] = nothing_said(transcriber, quiet, given.boosts)
        line["other speech"] = nothing_said(
            transcriber, [Utterance(clip.audio, (), "") for clip in speech], given.boosts
        )
    print(json.dumps(line))


if __name__ == "__main__":
    main()
