"""Endless training streams: clips of a speaker strung together with pauses, other speech and noise between."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import SAMPLE_RATE

from .augment import Audio, change_speed, colour, decibels, fade, gate, loud_part, transmit
from .corpus import Clip
from .recipe import Recipe

SPEED = 0.11  # standard deviation of a speaker's log speed; pitch and formants go with it


@dataclass
class Stream:
    """One mixed recording and what is said in it."""

    audio: Audio  # float32 [samples]
    clean: Audio  # the same before noise, room and line
    words: list[tuple[str, float, float]] = field(default_factory=list)


class Mixer:
    """Draws streams from clips: digits by one or several speakers, other speech, or nothing but noise."""

    def __init__(self, clips: Sequence[Clip], recipe: Recipe, seed: int) -> None:
        self.recipe, self.samples = recipe, int(recipe.seconds * SAMPLE_RATE)
        self.rng = np.random.default_rng(seed)
        self.digits: dict[str, list[Clip]] = defaultdict(list)
        self.others: dict[str, list[Clip]] = defaultdict(list)
        for clip in clips:
            (self.digits if clip.words else self.others)[clip.speaker].append(clip)
        self.speakers = sorted(self.digits)
        share = np.array([recipe.source_weights.get(self.digits[s][0].source, 1.0) for s in self.speakers])
        self.share = share / share.sum()
        self.other_speakers = sorted(self.others)

    def stream(self) -> Stream:
        """One stream with its own speed, room, line, noise and level."""
        rng, draw = self.rng, self.rng.random()
        out = Stream(np.zeros(self.samples, np.float32), np.zeros(self.samples, np.float32))
        if draw < self.recipe.digits:
            self._speak_digits(out, several=rng.random() < 0.15, foreign=rng.random() < 0.3)
        elif draw < self.recipe.digits + self.recipe.other and self.others:
            self._speak_otherwise(out, digits=0.35 if rng.random() < 0.3 else 0.0)
        out.clean *= decibels(rng.uniform(-34, -12)) / max(float(_loudness(out.clean)), 1e-4)
        heard = gate(out.clean, rng.uniform(12, 35)) if rng.random() < 0.15 else out.clean
        out.audio = transmit(rng, heard)
        self._add_noise(out)
        return out

    def _speak_digits(self, out: Stream, *, several: bool, foreign: bool) -> None:
        rng = self.rng
        speaker = self._speaker()
        speed, haste = np.exp(rng.normal(0, SPEED)), rng.uniform(0.3, 1.6)
        position = int(rng.exponential(0.35) * SAMPLE_RATE)
        while position < self.samples:
            if several and rng.random() < 0.4:
                speaker, speed = self._speaker(), np.exp(rng.normal(0, SPEED))
            if foreign and self.others and rng.random() < 0.2:
                position = self._place(out, self._other(), position, speed, part=rng.uniform(0.3, 2))
            else:
                position = self._place(out, self._digit(speaker), position, speed * np.exp(rng.normal(0, 0.03)))
            position += int(self._gap(haste) * SAMPLE_RATE)

    def _speak_otherwise(self, out: Stream, digits: float = 0.0) -> None:
        """Other speech, with a share of digits in it: what was no digit so far says nothing of what comes."""
        position = int(self.rng.exponential(0.3) * SAMPLE_RATE)
        speed = float(np.exp(self.rng.normal(0, 0.07)))
        speaker = self.rng.choice(self.other_speakers)
        while position < self.samples:
            if self.rng.random() < digits:
                position = self._place(out, self._digit(self._speaker()), position, speed)
                position += int(self._gap(1.0) * SAMPLE_RATE)
                continue
            clip = self.rng.choice(self.others[speaker]) if self.rng.random() < 0.7 else self._other()  # type: ignore[arg-type]
            position = self._place(out, clip, position, speed, part=8)
            position += int(self.rng.exponential(0.4) * SAMPLE_RATE)

    def _speaker(self) -> str:
        return str(self.rng.choice(self.speakers, p=self.share))

    def _digit(self, speaker: str) -> Clip:
        """A clip as recorders leave it: some of its words, and now and then with its weak ends cut off.

        Level-triggered recording swallows the s of six and the th of three; what is left of them is nearly an eight.
        """
        clips, rng = self.digits[speaker], self.rng
        clip = clips[rng.integers(len(clips))]
        if len(clip.words) > 1 and rng.random() < 0.4:
            first = int(rng.integers(len(clip.words)))
            clip = _excerpt(clip, first, min(first + int(rng.integers(1, 4)), len(clip.words)))
        return self._tight(clip) if rng.random() < 0.4 else clip

    def _tight(self, clip: Clip) -> Clip:
        """The clip without some of what is weak at its ends, at most two fifths of its outer words."""
        (_, *head), (_, *tail) = clip.words[0], clip.words[-1]
        first, last = loud_part(clip.audio)
        first = min(first, round((0.6 * head[0] + 0.4 * head[1]) * SAMPLE_RATE))
        last = max(last, round((0.4 * tail[0] + 0.6 * tail[1]) * SAMPLE_RATE))
        unheard = len(clip.audio) - last
        front, back = min(self.rng.uniform(0, 1.5), 1), self.rng.uniform(0, 0.4)  # a six without its end is no six
        return _cut(clip, int(first * front), len(clip.audio) - int(unheard * back))

    def _other(self) -> Clip:
        clips = self.others[self.rng.choice(self.other_speakers)]
        return clips[self.rng.integers(len(clips))]

    def _gap(self, haste: float) -> float:
        """Seconds between two clips: mostly short, now and then a pause for thought."""
        draw = self.rng.random()
        if draw < 0.03:
            return self.recipe.seconds  # the end of a turn: nothing more is said
        if draw < 0.15:
            return float(self.rng.uniform(0.8, 3.2))
        return float(self.rng.uniform(-0.01, 0.45) * haste if draw < 0.9 else 0.0)

    def _place(self, out: Stream, clip: Clip, position: int, speed: float, part: float | None = None) -> int:
        """Add a clip (of other speech: a random `part` of that many seconds) and return where it ends."""
        audio = clip.audio
        if part is not None and len(audio) > part * SAMPLE_RATE:
            start = int(self.rng.integers(len(audio) - int(part * SAMPLE_RATE) + 1))
            audio = audio[start : start + int(part * SAMPLE_RATE)]
        audio = fade(change_speed(audio, speed))
        audio = audio * decibels(self.rng.normal(0, 2)) / max(float(_loudness(audio)), 1e-4)
        position = max(position, 0)
        end = min(position + len(audio), self.samples)
        out.clean[position:end] += audio[: end - position]
        offset = position / SAMPLE_RATE
        out.words += [(text, offset + start / speed, offset + stop / speed) for text, start, stop in clip.words]
        return position + len(audio)

    def _add_noise(self, out: Stream) -> None:
        rng = self.rng
        level = max(float(_loudness(out.audio)), decibels(rng.uniform(-60, -20)) if not out.words else 1e-4)
        draw = rng.random()
        if draw < 0.45:
            out.audio = out.audio + colour(rng, self.samples) * np.float32(level * decibels(-rng.uniform(3, 30)))
        elif draw < 0.55 and self.others:
            babble = Stream(np.zeros(0, np.float32), np.zeros(self.samples, np.float32))
            self._speak_otherwise(babble)  # without digits, which nobody would be told of
            out.audio = out.audio + babble.clean * level * decibels(-rng.uniform(12, 30))
        floor = decibels(rng.uniform(-95, -55))
        out.audio += rng.standard_normal(self.samples, np.float32) * np.float32(floor)
        out.audio = np.clip(out.audio, -1, 1)


def _excerpt(clip: Clip, first: int, last: int) -> Clip:
    """Words `first` up to `last`, with half of the pauses around them."""
    words = clip.words
    start = (words[first - 1][2] + words[first][1]) / 2 if first else 0.0
    stop = (words[last - 1][2] + words[last][1]) / 2 if last < len(words) else len(clip.audio) / SAMPLE_RATE
    return _cut(replace(clip, words=words[first:last]), round(start * SAMPLE_RATE), round(stop * SAMPLE_RATE))


def _cut(clip: Clip, start: int, stop: int) -> Clip:
    """The samples from `start` to `stop`, with the words' times moved along."""
    length = (stop - start) / SAMPLE_RATE
    moved = [(w, a - start / SAMPLE_RATE, b - start / SAMPLE_RATE) for w, a, b in clip.words]
    words = tuple((w, max(a, 0.0), min(b, length)) for w, a, b in moved)
    return replace(clip, audio=clip.audio[start:stop], words=words)


def _loudness(audio: NDArray[np.float32]) -> float:
    """Root mean square of the louder half of the 20 ms blocks: silence between words does not count."""
    blocks = audio[: len(audio) // 480 * 480].reshape(-1, 480)
    if not len(blocks):
        return float(np.sqrt(np.mean(audio**2))) if len(audio) else 0.0
    power = np.sort((blocks**2).mean(1))[::-1]
    loud = power[power > power[0] * 1e-3]
    return float(np.sqrt(loud.mean())) if len(loud) else 0.0
