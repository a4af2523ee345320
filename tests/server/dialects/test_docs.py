"""docs/protocols.md says what the code says. `python -m tests.server.dialects.test_docs` renders its table anew."""

from __future__ import annotations

import re
from pathlib import Path

import msgpack

from vivavoce.core import Fault
from vivavoce.server.dialects import (
    deepgram_errors,
    deepgram_wishes,
    openai_errors,
    openai_form,
    openai_speech,
    speech_codec,
)
from vivavoce.server.dialects.moshi_codec import decode
from vivavoce.server.dialects.speech_wishes import _READERS as _SPEECH_READERS
from vivavoce.server.dialects.wishes import _READERS

PAGE = Path(__file__).parents[3] / "docs" / "protocols.md"
BEGIN, END = "<!-- from core.Fault: python -m tests.server.dialects.test_docs -->\n", "<!-- end -->"


def table() -> str:
    rows = []
    for fault in Fault:
        again, exit_code = "yes" if fault.retry else "no", "" if fault is Fault.NORMAL else fault.exit_code.value
        openai = f"`{openai_errors.CODES[fault][1]}`"
        code, close, _ = deepgram_errors.CODES[fault]
        codes = (openai, f"`{code}`", close)
        shown = (f"`{fault.name.lower()}`", fault.close_code, fault.status, again, exit_code, *codes, fault.meaning)
        rows.append(f"| {' | '.join(map(str, shown))} |")
    head = ("code", "close", "HTTP", "again", "exit", "OpenAI", "Deepgram", "its close", "meaning")
    return "\n".join([f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *rows]) + "\n"


def rendered(page: str) -> str:
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


def test_the_table_of_close_codes_is_the_one_in_the_code() -> None:
    page = PAGE.read_text()
    assert page == rendered(page)


def test_every_parameter_is_told() -> None:
    told = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", PAGE.read_text(), re.MULTILINE)))
    listen = {*deepgram_wishes.HONOURED, *deepgram_wishes.FREE, *deepgram_wishes.REFUSED}
    assert {*_READERS, *_SPEECH_READERS, *openai_form.FIELDS, *openai_speech.FIELDS, *listen} <= set(told)


def test_the_hex_examples_are_messages() -> None:
    dumps = re.findall(r"^[A-Z]\w+.*?   ((?:8[1-4]) a474797065(?:.|\n   )*)$", PAGE.read_text(), re.MULTILINE)
    messages = [bytes.fromhex("".join(dump.split())) for dump in dumps]
    types = [msgpack.unpackb(message)["type"] for message in messages]
    assert types[:5] == ["Init", "Ping", "Marker", "Audio", "OggOpus"]
    assert types[5:11] == ["Ready", "Step", "Word", "EndWord", "Marker", "Error"]
    assert [type(decode(message)).__name__ for message in messages[:5]] == types[:5]
    assert types[11:] == ["Text", "Eos", "Clear", "Flush", "Voice", "Audio", "OggOpus", "Text"]
    assert [type(speech_codec.decode(message)).__name__ for message in messages[11:16]] == types[11:16]


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text()))
