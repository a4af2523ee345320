"""One stream's life: audio re-framed, tokens to words, pauses to turns, flush; text to script. Pure, deterministic."""

from vivavoce.session.profile import SttProfile, TtsProfile
from vivavoce.session.script import ScriptMachine, ScriptState
from vivavoce.session.session import SttSession
from vivavoce.session.speech import Script, TtsSession
from vivavoce.session.text import Entry, TextReader

__all__ = [
    "Entry",
    "Script",
    "ScriptMachine",
    "ScriptState",
    "SttProfile",
    "SttSession",
    "TextReader",
    "TtsProfile",
    "TtsSession",
]
