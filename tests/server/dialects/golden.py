"""Golden transcripts: both directions of a dialogue, message for message, one JSON object a line.

    {"from": "client" | "server", "hex": ...}     a binary message
    {"from": "client" | "server", "text": ...}    a text message
    {"from": "server", "hex": ..., "bytes": n}    the beginning of a long binary message, and its length: audio
    {"from": "server", "close": [code, reason]}

The first line says where the client connects. A client's line is sent when every line before it has been heard, so
that the order is certain. To write them anew (after a change of protocol or model, never to silence a test):

    python -m tests.server.dialects.golden

Speech is that of the embedded voice, greedy: a chain of choices, each of which the next one hears, so one that another
processor's rounding turned would change all that follows. Rounding moves the logits by some 1e-6, and of the words here
no choice was closer than 1e-2; a retrained voice needs words of which that is true too (`closest` tells).
"""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import sphn
from safetensors.numpy import load_file
from torch import Tensor
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from vivavoce import Synthesizer, audio
from vivavoce.engine import tts
from vivavoce.nn import sampling
from vivavoce.settings.sources import embedded

from ..process import Server
from .dialogue import KEY

FOLDER = Path(__file__).parent / "golden"
DIALECTS = ("moshi", "stream", "speech", "openai", "deepgram", "gradium", "gradium_speech")
SPEAKING = ("speech", "gradium_speech")
LONG = 4_000  # bytes, of which only the beginning is kept
HEAD = 24
QUIET = 2.0  # seconds without a message, after which the server is taken to have said all
FRAME = 1920
Line = dict[str, Any]


def path_of(dialect: str) -> Path:
    return FOLDER / f"{dialect}.jsonl"


def read(dialect: str) -> list[Line]:
    return [json.loads(line) for line in path_of(dialect).read_text().splitlines()]


def opened(url: str, path: str) -> ClientConnection:
    address = "ws" + url.removeprefix("http") + path
    return connect(address, additional_headers={"kyutai-api-key": KEY}, proxy=None, compression=None)


def send(socket: ClientConnection, line: Line) -> None:
    socket.send(bytes.fromhex(line["hex"]) if "hex" in line else line["text"])


def hear(socket: ClientConnection, patience: float) -> Line:
    """The next message or the close; TimeoutError."""
    try:
        message = socket.recv(patience)
    except ConnectionClosed as closed:
        return _close(closed)
    if len(message) > LONG and isinstance(message, bytes):
        return {"from": "server", "hex": message[:HEAD].hex(), "bytes": len(message)}
    return {"from": "server", **_content(_without_audio(message))}


def _close(closed: ConnectionClosed) -> Line:
    assert closed.rcvd, "the connection was cut without a close frame"
    return {"from": "server", "close": [closed.rcvd.code, closed.rcvd.reason]}


def _content(message: bytes | str) -> Line:
    return {"hex": message.hex()} if isinstance(message, bytes) else {"text": message}


def _without_audio(message: bytes | str) -> bytes | str:
    """Of samples in a text, how many characters they are."""
    if isinstance(message, bytes) or not message.startswith('{"type":"audio"'):
        return message
    said = json.loads(message)
    return json.dumps({**said, "audio": f"{len(said['audio'])} characters"})


# --- what the clients say ---


def moshi_script() -> Iterator[bytes | str]:
    """Every type of message, every width, damage, and the three first words of the example."""

    def pack(type: str, single: bool = True, **fields: object) -> bytes:
        return msgpack.packb({"type": type, **fields}, use_single_float=single)

    opus = _opus(_example(0, 27))
    yield pack("Ping")
    yield pack("OggOpus", data=list(opus[:1_001]))
    yield pack("OggOpus", data=opus[1_001:])
    yield pack("Marker", id=1_700_000_000_123)
    yield "a text"
    yield b"\x00"
    yield pack("Audio", pcm="no")
    yield pack("Init")
    yield pack("Audio", pcm=[0] * FRAME)
    yield pack("Audio", pcm=_example(20, 20.25).tolist())
    yield pack("Audio", False, pcm=_example(20.25, 20.5).tolist())
    yield pack("Audio", pcm=_example(20.5, 21).astype("<f4").tobytes())
    yield pack("Marker", id=-5)
    yield pack("OggOpus", data=[1, 2, 3, 4, 5])


def stream_script() -> Iterator[bytes | str]:
    """Every control, mu-law at 8 kHz cut anywhere, damage, and the three first words of the example."""
    data = _mulaw(_example(0, 27))
    yield data[:9_999]
    yield data[9_999:]
    yield '{"type":"flush","id":"turn 1"}'
    yield '{"type":"keepalive"}'
    yield "nonsense"
    yield '{"type":"sing"}'
    yield '{"type":"eos"}'


def speech_script() -> Iterator[bytes | str]:
    """Every type of message in every form, damage, a break, what comes too late, and an interruption."""
    yield msgpack.packb({"type": "Ping"})
    yield b"\xc1"
    yield msgpack.packb({"type": "Voice", "embeddings": [0.5], "shape": [1, 1, 1]}, use_single_float=True)
    voice = _voice("michael")
    yield msgpack.packb({"type": "Voice", "embeddings": voice.tobytes(), "shape": [1, *voice.shape]})
    yield "four one five two"
    yield msgpack.packb({"type": "Voice", "embeddings": [0.5], "shape": [1, 1, 1]}, use_single_float=True)
    yield msgpack.packb({"type": "Clear"})
    yield msgpack.packb({"type": "Text", "text": "zero"})
    yield msgpack.packb(["Text", '<break time="0.2s"/> six'])
    yield msgpack.packb({"type": "Flush", "id": -5})
    yield b"\x02"
    yield "eight, two"
    yield b"\x00"


def openai_script() -> Iterator[bytes | str]:
    """Every event of a client without turn detection, mu-law, damage, and the three first words of the example."""

    def said(type: str, **fields: object) -> str:
        return json.dumps({"type": type, **fields})

    data = _mulaw(_example(0, 27))
    how = {"format": {"type": "audio/pcmu"}, "turn_detection": None}
    include = ["item.input_audio_transcription.logprobs"]
    yield said("session.update", session={"type": "transcription", "audio": {"input": how}, "include": include})
    for part in (data[:9_999], data[9_999:]):
        yield said("input_audio_buffer.append", audio=base64.b64encode(part).decode())
    yield said("input_audio_buffer.commit")
    yield said("input_audio_buffer.commit", event_id="again")
    yield said("input_audio_buffer.clear")
    yield "nonsense"
    yield said("response.create", event_id="mine")


def deepgram_script() -> Iterator[bytes | str]:
    """Every control, mu-law cut anywhere, damage, a pause, and the three first words of the example twice."""

    def said(type: str, **fields: object) -> str:
        return json.dumps({"type": type, **fields})

    data = _mulaw(_example(0, 27))
    yield data[:9_999]
    yield data[9_999:]
    yield said("KeepAlive")
    yield said("Finalize")
    yield said("Configure", keyterms=["Kyutai"])
    yield said("Configure", features={"punctuate": True})
    yield "nonsense"
    yield said("Sing")
    yield data + b"\xff" * 16_000
    yield said("CloseStream")


def gradium_script() -> Iterator[bytes | str]:
    """Every message, mu-law cut anywhere, the three first words of the example twice, and what comes too late."""

    def said(type: str, **fields: object) -> str:
        return json.dumps({"type": type, **fields})

    data = _mulaw(_example(0, 27))
    yield said("setup", model_name="default", input_format="ulaw_8000", json_config={"language": "en", "temp": 0})
    for part in (data[:9_999], data[9_999:]):
        yield said("audio", audio=base64.b64encode(part).decode())
    yield said("flush", flush_id="turn 1")
    yield said("audio", audio=base64.b64encode(data).decode())
    yield said("flush", flush_id=2)
    yield said("end_of_stream")


def gradium_speech_script() -> Iterator[bytes | str]:
    """Requests on one socket: one that is spoken, one that cannot be, a message for nobody, one that closes it."""

    def said(type: str, request: str, **fields: object) -> str:
        return json.dumps({"type": type, "client_req_id": request, **fields})

    how = {"output_format": "pcm_24000", "json_config": json.dumps({"temp": 0})}
    yield said("setup", "one", voice="michael", close_ws_on_eos=False, **how)
    yield said("text", "one", text="eight,")
    yield said("text", "one", text="two")
    yield said("end_of_stream", "one")
    yield said("setup", "two", voice="nobody", close_ws_on_eos=False)
    yield said("text", "one", text="late")
    yield said("setup", "three", voice_id="michael", **how)
    yield said("text", "three", text="eight, two")
    yield said("end_of_stream", "three")


SCRIPTS = {
    "gradium": ("/api/speech/asr", gradium_script),
    "gradium_speech": ("/api/speech/tts", gradium_speech_script),
    "deepgram": (
        "/v1/listen?model=nova-3&encoding=mulaw&sample_rate=8000&interim_results=true&utterance_end_ms=1000",
        deepgram_script,
    ),
    "openai": ("/v1/realtime?intent=transcription", openai_script),
    "speech": ("/api/tts_streaming?format=PcmMessagePack&voice=heart&seed=1&temperature=0", speech_script),
    "moshi": ("/api/asr-streaming", moshi_script),
    "stream": ("/v1/stream?format=mulaw&words=true&vad=true&seed=1&temperature=0", stream_script),
}


def _voice(name: str) -> Any:
    """Its embedding, [width, frames]."""
    path = embedded("tts") / "voices" / f"{name}.digits@1.safetensors"
    return load_file(path)["speaker_wavs"][0].astype("<f4")


def _example(start: float, stop: float) -> Any:
    """Frames of the example."""
    samples = audio.load(Path(__file__).parents[3] / "examples" / "digits.flac")
    return samples[round(start * FRAME) : round(stop * FRAME)]


def _opus(samples: Any) -> bytes:
    writer = sphn.OpusStreamWriter(24_000)
    return b"".join(writer.append_pcm(samples[start : start + FRAME]) for start in range(0, len(samples), FRAME))


def _mulaw(samples: Any) -> bytes:
    import av
    import soxr

    low = (soxr.resample(samples, 24_000, 8_000) * 32_767).astype(np.int16)
    file = io.BytesIO()
    with av.open(file, "w", format="mulaw") as container:
        track = container.add_stream("pcm_mulaw", rate=8_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(low[None], format="s16", layout="mono")
        frame.sample_rate = 8_000
        for packet in (*track.encode(frame), *track.encode(None)):
            container.mux(packet)
    return file.getvalue()


# --- writing them ---


def record(url: str, dialect: str) -> list[Line]:
    path, script = SCRIPTS[dialect]
    lines: list[Line] = [{"path": path}]
    with opened(url, path) as socket:
        lines += _all(socket)
        for message in script():
            lines.append({"from": "client", **_content(message)})
            send(socket, lines[-1])
            lines += _all(socket)
    return lines


def _all(socket: ClientConnection) -> list[Line]:
    lines: list[Line] = []
    while not (lines and "close" in lines[-1]):
        try:
            lines.append(hear(socket, QUIET))
        except TimeoutError:
            break
    return lines


def flags_of(dialect: str) -> list[str]:
    """How its server is started."""
    only = (
        ["--model", "none", "--tts-model", "tts-digits-en", "--tts-slots", "2"]
        if dialect in SPEAKING
        else ["--slots", "3"]
    )
    return ["--api-keys", KEY, *only]


def closest(texts: list[str]) -> float:
    """By how much the likeliest was ahead of the next, at the closest of all choices of the embedded voice."""
    leads = list[float]()

    def choose(logits: Tensor, how: sampling.Sampling, key: Tensor) -> Tensor:
        first, second = logits.topk(2, -1).values.unbind(-1)
        leads.append(float((first - second).min()))
        return draw(logits, how, key)

    draw, tts.draw = tts.draw, choose  # type: ignore[attr-defined]
    try:
        for text in texts:
            Synthesizer.load(batch_size=1, device="cpu").say(text, temperature=0.0, voice="michael")
    finally:
        tts.draw = draw  # type: ignore[attr-defined]
    return min(leads)


def main(dialects: list[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    for dialect in dialects:
        with Server(*flags_of(dialect)) as server:
            server.wait_ready()
            lines = [json.dumps(line, ensure_ascii=False) + "\n" for line in record(server.url, dialect)]
        path_of(dialect).write_text("".join(lines))
    if "speech" in dialects:
        print("closest choice:", closest(['zero <break time="0.2s"/> six', "eight, two"]))


if __name__ == "__main__":
    main(sys.argv[1:] or list(DIALECTS))
