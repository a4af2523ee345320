"""Asterisk's prompts: a professional speaker says digits and sentences."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ..audio import bounds, cut, normalise, trim
from ..corpus import DIGITS, SAMPLE_RATE, Audio, Clip, EngineMissingError, Job, Request, Word, has_digit_word, sane
from .mix import run

LICENCE = "CC-BY-SA-3.0 (asterisk-core-sounds, Allison Smith)"
SOUNDS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
# Prompts that say a digit (or "for" alone, which is one to the ear), or that hold no speech.
_SPOKEN = """
basic-pbx beep conf-adminmenu conf-extended conf-locked conf-only conf-usermenu conf-userswilljoin
confbridge-binaural confbridge-dec confbridge-inc confbridge-lock-ext confbridge-menu
confbridge-mute-ext confbridge-only confbridge-remove confbridge-rest demo-abouttotry demo-congrats
demo-enterkeywords demo-instruct demo-moreinfo dictate digits/oh dir- followme/options for.
if-correct-press letters/ascii letters/o. one-moment phonetic/9 pm-invalid priv-callee
priv-recordintro queue-quantity screen-callee silence/ simul-call tone tt-monkeys. vm-Cust
vm-advopts vm-changeto vm-delete vm-for. vm-forward vm-helpexit vm-instructions vm-intro vm-leavemsg
vm-msg vm-next vm-onefor vm-options vm-opts vm-press vm-prev vm-reachoper vm-rec vm-repeat vm-review
vm-saved vm-savemessage vm-saveoper vm-star vm-temp vm-to vm-undelete vm-which
"""
SPOKEN = tuple(_SPOKEN.split())


def jobs(_: Request) -> Iterator[Job]:
    """The ten digits, then the prompts without a digit word."""
    if not SOUNDS.is_dir() or not shutil.which("ffmpeg"):
        raise EngineMissingError("`apt-get install asterisk-core-sounds-en-g722 ffmpeg`")
    for number, digit in enumerate(DIGITS):
        yield Job(digit, partial(_digit, SOUNDS / f"digits/{number}.g722", digit))
    for path in sorted(SOUNDS.rglob("*.g722")):
        name = path.relative_to(SOUNDS).as_posix()
        if _other(name):
            yield Job(name.removesuffix(".g722").replace("/", "_"), partial(_prompt, path))


def _other(name: str) -> bool:
    stem = name.removesuffix(".g722").rpartition("/")[2]
    if name.startswith(SPOKEN):
        return False
    if name.startswith("digits/"):  # 4, 14, h-40 hold a digit; days, months and "dollars" do not
        stem = stem.removeprefix("h-")
        return stem.isalpha() or stem in ("p-m", "a-m") or stem.startswith(("day-", "mon-"))
    return not has_digit_word(stem.replace("-", " "))


def _digit(path: Path, digit: str) -> list[Clip]:
    audio = _decode(path)
    start, stop = bounds(audio)
    piece, origin = cut(audio, start, stop)
    word = (digit, start - origin, stop - origin)
    return [_clip(piece, (word,))] if sane([word], len(piece) / SAMPLE_RATE) else []


def _prompt(path: Path) -> list[Clip]:
    return [_clip(trim(_decode(path))[0], ())]


def _decode(path: Path) -> Audio:
    return normalise(run(["ffmpeg", "-loglevel", "error", "-i", str(path), "{}"]))


def _clip(audio: Audio, words: tuple[Word, ...]) -> Clip:
    return Clip(audio, words, "asterisk", "allison-smith", LICENCE)
