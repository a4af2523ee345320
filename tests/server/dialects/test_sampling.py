"""One temperature and one seed give one text, whichever way a stream comes and whoever else is served."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from openai import OpenAI
from websockets.exceptions import InvalidStatus

from vivavoce import Transcriber
from vivavoce.client import transcribe

from ...example import EXAMPLE
from ..process import Server, fetch
from .dialogue import KEY, PATIENCE, Samples, moshi, stream, words
from .test_gradium import raw as gradium
from .test_gradium import wav

TEMPERATURE, SEED = 2.0, 7
HOW = f"temperature={TEMPERATURE}&seed={SEED}"
HEADERS = {"kyutai-api-key": KEY}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("--slots", "4", "--api-keys", KEY, "--load-limit", "0") as server:
        server.wait_ready()
        yield server


@pytest.fixture(scope="module")
def sampled() -> Callable[[float, int], list[str]]:
    """The words of the example by the Python API."""

    def hear(temperature: float, seed: int) -> list[str]:
        loaded = Transcriber.load(batch_size=1, temperature=temperature, seed=seed)
        return [word.text for word in loaded.transcribe(EXAMPLE)]

    return hear


@pytest.fixture(scope="module")
def expected(sampled: Callable[[float, int], list[str]]) -> list[str]:
    said = sampled(TEMPERATURE, SEED)
    assert said != sampled(TEMPERATURE, SEED + 1)
    return said


def by_stream(server: Server, samples: Samples, query: str = HOW) -> list[str]:
    with stream(server.url, f"words=true&{query}") as client:
        client.send(samples.astype("<f4").tobytes())
        client.control("eos")
        return words(client.until_type("end"))


def by_moshi(server: Server, samples: Samples) -> list[str]:
    with moshi(server.url, f"/api/asr-streaming?{HOW}") as client:
        client.audio(samples)
        client.say("Marker", id=1)
        return words(client.until_type("Marker"))


def by_post(server: Server, _: Samples) -> list[str]:
    answer = fetch(f"{server.url}/v1/transcribe?{HOW}", HEADERS, EXAMPLE.read_bytes())
    return [word["text"] for word in answer.json()["words"]]


def by_moshis_post(server: Server, _: Samples) -> list[str]:
    return words(fetch(f"{server.url}/api/asr-streaming?{HOW}", HEADERS, EXAMPLE.read_bytes()).json())


def by_client(server: Server, _: Samples) -> list[str]:
    heard = transcribe(server.url, EXAMPLE, key=KEY, temperature=TEMPERATURE, seed=SEED)
    return [word.text for word in heard]


def by_moshi_client(server: Server, _: Samples) -> list[str]:
    heard = transcribe(server.url, EXAMPLE, key=KEY, dialect="moshi", temperature=TEMPERATURE, seed=SEED)
    return [word.text for word in heard]


def by_command(server: Server, _: Samples, verb: tuple[str, ...] = ("stream", "--rtf", "0")) -> list[str]:
    where = ["--url", server.url, "--key", KEY] if verb[0] == "stream" else []
    asked = ["--temperature", str(TEMPERATURE), "--seed", str(SEED)]
    command = [sys.executable, "-m", "vivavoce", *verb, *where, *asked, str(EXAMPLE)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def by_command_without_server(server: Server, samples: Samples) -> list[str]:
    return by_command(server, samples, ("transcribe",))


@pytest.mark.parametrize(
    "hear",
    [
        by_stream, by_moshi, by_post, by_moshis_post, by_client, by_moshi_client, by_command, by_command_without_server,
    ],
)  # fmt: skip
def test_a_temperature_and_a_seed_mean_the_same_everywhere(
    server: Server, digits: Samples, expected: list[str], hear: Callable[[Server, Samples], list[str]]
) -> None:
    assert hear(server, digits) == expected


def test_where_only_a_temperature_can_be_said_the_seed_is_the_modules(
    server: Server, digits: Samples, sampled: Callable[[float, int], list[str]]
) -> None:
    expected = sampled(1.0, 0)
    with OpenAI(api_key=KEY, base_url=f"{server.url}/v1", max_retries=0, timeout=PATIENCE) as client:
        answer = client.audio.transcriptions.create(file=EXAMPLE, model="stt-digits-en", temperature=1.0)
    assert answer.text.split() == expected
    with gradium(server, "asr") as client:
        client.say("setup", input_format="wav", json_config={"temp": 1.0})
        client.say("audio", audio=base64.b64encode(wav(digits)).decode())
        client.say("end_of_stream")
        heard = client.until("end_of_stream")
    assert [message["text"] for message in heard if message["type"] == "text"] == expected


def test_neighbours_do_not_change_what_is_drawn(server: Server, digits: Samples, expected: list[str]) -> None:
    queries = [HOW, "temperature=3&seed=1", "temperature=0", HOW]
    with ThreadPoolExecutor(len(queries)) as pool:
        heard = list(pool.map(lambda query: by_stream(server, digits, query), queries))
    assert heard[0] == heard[3] == expected
    assert heard[1] != expected


def test_a_new_engine_goes_on_with_the_draws_of_the_one_that_was_killed(
    server: Server, digits: Samples, expected: list[str]
) -> None:
    with stream(server.url, f"words=true&{HOW}") as client:
        client.send(digits[: len(digits) // 2].astype("<f4").tobytes())
        before = client.until_type("word")
        (engine,) = fetch(f"{server.url}/api/status", HEADERS).json()["engines"]
        os.kill(engine["pid"], signal.SIGKILL)
        client.send(digits[len(digits) // 2 :].astype("<f4").tobytes())
        client.control("eos")
        assert words(before + client.until_type("end")) == expected


@pytest.mark.parametrize("query", ["temperature=-1", "temperature=hot", "seed=-1", "seed=1.5", "seed=1&seed=2"])
def test_what_cannot_be_is_refused_on_every_path_by_its_name(server: Server, query: str) -> None:
    name = query.partition("=")[0]
    with pytest.raises(InvalidStatus) as refused, stream(server.url, query):
        pass
    assert name in json.loads(refused.value.response.body)["message"]
    for path in ("/v1/transcribe", "/api/asr-streaming"):
        answer = fetch(f"{server.url}{path}?{query}", HEADERS, EXAMPLE.read_bytes())
        assert answer.status == 400
        assert name in answer.json()["message"]
    with moshi(server.url, f"/api/asr-streaming?{query}") as client:
        (error,) = client.until_type("Error")
        assert name in error["message"]
        assert client.close_code()[0] == 4003
