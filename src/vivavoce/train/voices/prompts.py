"""Real speakers found in free packages: ten digits and some words each, worth more than any robot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ..audio import bounds, cut, load, normalise, trim
from ..corpus import DIGITS, SAMPLE_RATE, Clip, EngineMissingError, Job, Request, has_digit_word, sane

STAMPS = Path("/usr/share/tuxpaint/stamps")
# Their numbers are left out: other languages' digits are not what "other speech" should mean.
LANGUAGES = ("fr", "es", "ca", "ro", "ru", "bg", "el", "da", "be")
PER_LANGUAGE = 90


class Speaker(NamedTuple):
    """Somebody whose digits a package carries."""

    name: str
    licence: str
    folder: Path
    digit: Callable[[int], str]  # file of a digit
    others: str = ""  # glob of other words
    skip: tuple[str, ...] = ()  # stems that hold a digit or no speech


def _captcha() -> Path:
    spec = find_spec("captcha")
    return Path(spec.origin or "").parent / "data" if spec else Path("/nonexistent")


def _speakers() -> tuple[Speaker, ...]:
    math = STAMPS / "symbols/math"
    teens = ("fourteen", "sixteen", "seventeen", "eighteen", "nineteen", "click", "racket", "table")
    numbers = ("14", "16", "17", "18", "19", "40", "oh", *"0123456789")
    csmash = Path("/usr/share/games/csmash/wav")
    saytime, scid = Path("/usr/share/saytime"), Path("/usr/share/scid/sounds")
    return (
        Speaker("csmash", "GPL-2.0+ (csmash-data)", csmash, _named, "*.wav", (*DIGITS, *teens)),
        Speaker("dawson", "GPL (saytime, D. C. Dawson)", saytime, "{}.au".format, "*.au", numbers),
        Speaker("scid", "GPL-2.0 (scid-data)", scid, "{}.wav".format, "[a-hBCKMPQR]*.wav"),
        Speaker("tuxpaint-en", "GPL-2.0 (tuxpaint-stamps)", math, "{}.ogg".format),
        Speaker("tuxpaint-en-gb", "GPL-2.0 (tuxpaint-stamps)", math, "{}_en_GB.ogg".format),
        Speaker("captcha", "BSD-3-Clause (PyPI captcha)", _captcha(), _default, "[A-NP-Z]/*.wav"),
    )


def _named(number: int) -> str:
    return f"{DIGITS[number]}.wav"


def _default(number: int) -> str:
    return f"{number}/default.wav"


def jobs(_: Request) -> Iterator[Job]:
    """Digits of every speaker, then their other words, then Tux Paint's descriptions."""
    found = [speaker for speaker in _speakers() if speaker.folder.is_dir()]
    if not found:
        packages = "csmash-data saytime scid-data tuxpaint-stamps-default"
        raise EngineMissingError(f"`apt-get install {packages}` and `pip install captcha`")
    for speaker in found:
        for number, digit in enumerate(DIGITS):
            path = speaker.folder / speaker.digit(number)
            if path.is_file():  # chess has no zero and no nine
                yield Job(f"{speaker.name}_{digit}", partial(_digit, path, digit, speaker))
    for speaker in found:
        for path in sorted(speaker.folder.glob(speaker.others)) if speaker.others else ():
            if path.stem not in speaker.skip and path.stem not in ("alert", "move"):
                key = f"{speaker.name}_o_{path.parent.name}_{path.stem}"
                yield Job(key, partial(_other, path, speaker.name, speaker.licence))
    yield from _descriptions()


def _digit(path: Path, digit: str, speaker: Speaker) -> list[Clip]:
    audio = load(path)
    start, stop = bounds(audio)
    piece, origin = cut(audio, start, stop)
    word = (digit, start - origin, stop - origin)
    if not sane([word], len(piece) / SAMPLE_RATE):
        return []
    return [Clip(normalise(piece), (word,), "prompts", speaker.name, speaker.licence)]


def _descriptions() -> Iterator[Job]:
    for suffix in ("", *(f"_{language}" for language in LANGUAGES)):
        files = [p for p in sorted(STAMPS.rglob(f"*_desc{suffix}.ogg")) if p.parent.name != "math"]
        speaker = f"tuxpaint{suffix.replace('_', '-') or '-en'}"
        for path in islice(filter(_silent, files), PER_LANGUAGE):
            key = f"{speaker}_o_{path.parent.name}_{path.stem}"
            yield Job(key, partial(_other, path, speaker, "GPL-2.0 (tuxpaint-stamps)"))


def _silent(path: Path) -> bool:
    """Whether the stamp's English text, in the first line beside it, holds no digit word."""
    text = path.with_name(path.name.partition("_desc")[0] + ".txt")
    return text.is_file() and not has_digit_word(text.read_text(errors="replace").split("\n")[0])


def _other(path: Path, speaker: str, licence: str) -> list[Clip]:
    audio, _ = trim(normalise(load(path)))
    return [Clip(audio, (), "prompts", speaker, licence)] if len(audio) > SAMPLE_RATE / 10 else []
