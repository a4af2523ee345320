"""Numbers, punctuation, capitals and accents reach every client as the model's tokenizer writes them."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import soundfile
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop

from vivavoce.checkpoints import load_stt, save_stt
from vivavoce.core import FRAME_SIZE, TEXT_PAD, Token, Vad, WordEnded
from vivavoce.server.dialects.sound import sound
from vivavoce.session import SttProfile
from vivavoce.transcriber import Transcriber

from ...conftest import MakeModel
from ..process import Server, fetch
from .dialogue import KEY, Samples, moshi, stream
from .test_deepgram import client_of, listen
from .test_gradium import raw as gradium
from .test_openai_realtime import session
from .test_wyoming import talk

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # as the packages' own tests have it
WRITTEN = (
    "▁Ça", "▁1,234.50", "▁$5", "▁N°", "▁“Hi”", "▁OK!", "▁O'Neil", "▁été", "▁Éric", "▁3", "▁ﬁn", "▁<b>", "▁&", "▁%",
    "▁THE", "▁\\n", "▁\"", "é", "’s", ",", ".", "?!", "ï", "-2", "0",
)  # fmt: skip
FRAMES = 100


@dataclass(frozen=True)
class Said:
    """What a model says of some audio, by its tokens alone."""

    pcm: bytes  # 16 bits
    samples: Samples
    text: str
    words: list[str]


@pytest.fixture(scope="module")
def folder(make_model: MakeModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights that draws any of those pieces."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["viva voce"] * 20), model_writer=model, vocab_size=len(WRITTEN) + 20,
        hard_vocab_limit=False, pad_id=3, minloglevel=2, user_defined_symbols=list(WRITTEN),
    )  # fmt: skip
    tokenizer = model.getvalue()
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer)
    pieces = tuple(processor.IdToPiece(i) for i in range(processor.GetPieceSize()))
    made = make_model(lm={"text_card": len(pieces), "text_card_out": len(pieces)})
    path = tmp_path_factory.mktemp("written")
    save_stt(replace(made, pieces=pieces, config=replace(made.config, temperature=1.5)), path, tokenizer=tokenizer)
    return path


@pytest.fixture(scope="module")
def said(folder: Path) -> Said:
    noise = np.random.default_rng(3).integers(-9_000, 9_000, FRAMES * FRAME_SIZE).astype("<i2")
    samples = np.concatenate(list(sound("pcm_s16le", 24_000).read(noise.tobytes())))
    model = load_stt(folder)
    engine = Transcriber(model, batch_size=1).engine
    engine.open(0, temperature=1.5, seed=0)
    delay = SttProfile((), model.config.audio_delay_seconds).delay_frames
    heard = np.concatenate([samples, np.zeros((delay + 2) * FRAME_SIZE, np.float32)]).reshape(-1, FRAME_SIZE)
    tokens = [engine.step({0: frame})[0].token for frame in heard]
    printed = [token for index, token in enumerate(tokens, 1) if token > TEXT_PAD and index + 1 >= delay]
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    events = list(Transcriber(model, batch_size=1).stream([samples]))
    text = "".join(event.text for event in events if isinstance(event, Token))
    assert text == processor.decode(printed), "the session spells as the tokenizer does"
    assert sum(isinstance(event, Vad) for event in events) == len(tokens)
    assert sum(piece.strip("▁") in text for piece in WRITTEN) > len(WRITTEN) / 2
    return Said(noise.tobytes(), samples, text, [event.word.text for event in events if isinstance(event, WordEnded)])


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    flags = ("--slots", "2", "--api-keys", KEY, "--load-limit", "0", "--wyoming", "tcp://127.0.0.1:0")
    with Server("--model", str(folder), *flags) as server:
        server.wait_ready()
        yield server


def wav(said: Said) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(said.pcm, "<i2"), 24_000, "PCM_16", format="WAV")
    return file.getvalue()


def test_words_and_text_are_of_the_same_letters(said: Said) -> None:
    assert "".join(said.words) == said.text.replace(" ", "")


def test_on_our_own_protocol(server: Server, said: Said) -> None:
    with stream(server.url, "words=true&format=pcm_s16le") as client:
        client.send(said.pcm)
        client.control("eos")
        heard = client.until_type("end")
    assert "".join(message["text"] for message in heard if message["type"] == "token") == said.text
    assert [message["text"] for message in heard if message["type"] == "word"] == said.words


def test_on_moshi_servers(server: Server, said: Said) -> None:
    with moshi(server.url) as client:
        client.audio(said.samples)
        client.say("Marker", id=1)
        heard = client.until_type("Marker")
    assert [message["text"] for message in heard if message["type"] == "Word"] == said.words


@pytest.mark.parametrize("path", ["/v1/transcribe", "/api/asr-streaming"])
def test_in_one_request(server: Server, said: Said, path: str) -> None:
    heard = fetch(server.url + path, {"kyutai-api-key": KEY}, wav(said)).json()
    words = heard["words"] if isinstance(heard, dict) else [each for each in heard if each["type"] == "Word"]
    assert [word["text"] for word in words] == said.words


def test_on_openais(server: Server, said: Said) -> None:
    with session(server) as conversation:
        conversation.update(turn_detection=None)
        for start in range(0, len(said.pcm), 48_000):
            audio = base64.b64encode(said.pcm[start : start + 48_000]).decode()
            conversation.connection.input_audio_buffer.append(audio=audio)
        conversation.connection.input_audio_buffer.commit()
        assert conversation.transcripts(1) == [said.text]
        assert "".join(event.delta for event in conversation.of("delta")) == said.text


@pytest.mark.parametrize("asked", [{}, {"punctuate": "true", "smart_format": "true"}])
def test_on_deepgrams_whatever_form_is_asked_for(server: Server, said: Said, asked: dict[str, str]) -> None:
    with client_of(server) as client, listen(client, sample_rate=24_000, **asked) as live:
        live.send(said.pcm)
        live.finish()
    words = [word for result in live.results() for word in result.channel.alternatives[0].words]
    assert [word.punctuated_word for word in words] == said.words
    assert live.text() == " ".join(said.words)


def test_on_gradiums(server: Server, said: Said) -> None:
    with gradium(server, "asr") as client:
        client.say("setup", model_name="default", input_format="pcm")
        client.say("audio", audio=base64.b64encode(said.pcm).decode())
        client.say("end_of_stream")
        heard = client.until("end_of_stream")
    assert [message["text"] for message in heard if message["type"] == "text"] == said.words


def test_on_wyoming(server: Server, said: Said) -> None:
    async def script(peer: Any) -> Any:
        form: Any = {"rate": 24_000, "width": 2, "channels": 1}
        chunks = (said.pcm[start : start + 2_048] for start in range(0, len(said.pcm), 2_048))
        await peer.say(Transcribe(), AudioStart(**form))
        await peer.say(*(AudioChunk(**form, audio=chunk) for chunk in chunks), AudioStop())
        return await peer.until("transcript-stop")

    heard = talk(server, script)
    (transcript,) = [event for event in heard if event.type == "transcript"]
    assert Transcript.from_event(transcript).text == said.text
