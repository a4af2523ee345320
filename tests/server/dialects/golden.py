"""Golden transcripts: both directions of a dialogue, message for message, one JSON object a line.

    {"from": "client" | "server", "hex": ...}     a binary message
    {"from": "client" | "server", "text": ...}    a text message
    {"from": "server", "hex": ..., "bytes": n}    the beginning of a long binary message, and its length: audio
    {"from": "server", "close": [code, reason]}

The first line says where the client connects. A client's line is sent when every line before it has been heard, so
that the order is certain. To write them anew (after a change of protocol or model, never to silence a test):

    python -m tests.server.dialects.golden
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import sphn
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from vivavoce import audio

from ...conftest import tokenizer
from ...speech_folder import write
from ..process import Server
from .dialogue import KEY

FOLDER = Path(__file__).parent / "golden"
DIALECTS = ("moshi", "stream", "speech")
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
    return {"from": "server", **_content(message)}


def _close(closed: ConnectionClosed) -> Line:
    assert closed.rcvd, "the connection was cut without a close frame"
    return {"from": "server", "close": [closed.rcvd.code, closed.rcvd.reason]}


def _content(message: bytes | str) -> Line:
    return {"hex": message.hex()} if isinstance(message, bytes) else {"text": message}


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
    voice = np.linspace(-1, 1, 60, dtype=np.float32)
    yield msgpack.packb({"type": "Voice", "embeddings": voice.tolist(), "shape": [1, 12, 5]}, use_single_float=True)
    yield "viva voce by the"
    yield msgpack.packb({"type": "Voice", "embeddings": [0.5], "shape": [1, 1, 1]}, use_single_float=True)
    yield msgpack.packb({"type": "Clear"})
    yield msgpack.packb({"type": "Text", "text": "voice"})
    yield msgpack.packb(["Text", '<break time="0.2s"/> living'])
    yield b"\x00"


SCRIPTS = {
    "speech": ("/api/tts_streaming?format=PcmMessagePack&voice=ada.wav&seed=1&temperature=0", speech_script),
    "moshi": ("/api/asr-streaming", moshi_script),
    "stream": ("/v1/stream?format=mulaw&words=true&vad=true&seed=1&temperature=0", stream_script),
}


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


def flags_of(dialect: str, speaking: Path) -> list[str]:
    """How its server is started; `speaking` is the folder of tests/speech_folder.py."""
    if dialect == "speech":
        return ["--api-keys", KEY, "--model", "none", "--tts-model", str(speaking), "--tts-slots", "2"]
    return ["--api-keys", KEY, "--slots", "3"]


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        speaking = Path(folder) / "small"
        write(speaking, tokenizer.__wrapped__())
        for dialect in DIALECTS:
            with Server(*flags_of(dialect, speaking)) as server:
                server.wait_ready()
                lines = [json.dumps(line, ensure_ascii=False) + "\n" for line in record(server.url, dialect)]
            path_of(dialect).write_text("".join(lines))


if __name__ == "__main__":
    main()
