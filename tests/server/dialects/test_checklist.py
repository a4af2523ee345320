"""The conformance checklist of spec/moshi-server.md §9.8 (speech to text), row by row; where we differ on purpose, the
row says so. Rows 13, 14 (pings of the websocket) belong to tests/server/test_edge.py, 17 and 18 to text to speech."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable

import numpy as np
import pytest
from websockets.exceptions import InvalidStatus

from ..process import fetch
from .dialogue import FRAME, KEY, Samples, moshi, types, words

SILENCE = np.zeros(FRAME, np.float32)
PATH = "/api/asr-streaming"


def row_1_no_key(url: str, _: Samples) -> None:
    with pytest.raises(InvalidStatus) as refused, moshi(url, headers={}):
        pass
    assert (refused.value.response.status_code, refused.value.response.body) == (401, b"")


def row_2_a_bad_header_beats_a_good_query(url: str, _: Samples) -> None:
    with pytest.raises(InvalidStatus) as refused, moshi(url, f"{PATH}?auth_id={KEY}", {"kyutai-api-key": "no"}):
        pass
    assert refused.value.response.status_code == 401


def row_3_a_good_query(url: str, _: Samples) -> None:
    with moshi(url, f"{PATH}?auth_id={KEY}", {}) as client:
        assert client.next_raw().hex() == "81a474797065a55265616479"


def row_4_plain_get(url: str, _: Samples) -> None:
    assert fetch(url + PATH).status == 400


def row_5_one_connection_too_many(url: str, _: Samples) -> None:
    """Differs: the close has a code (4000) and a reason, where upstream's has none (1005)."""
    with contextlib.ExitStack() as open_ones:
        for _slot in range(3):
            assert open_ones.enter_context(moshi(url)).next() == {"type": "Ready"}
        last = open_ones.enter_context(moshi(url))
        assert last.next() == {"type": "Error", "message": "no free channels"}
        assert last.close_code() == (4000, "every slot is taken (3 of 3)")


def row_6_one_step_a_frame(url: str, digits: Samples) -> None:
    """Differs: step_idx counts this stream's frames from 1, where upstream's counts everybody's."""
    with moshi(url) as client:
        client.audio(digits[: 10 * FRAME])
        assert [step["step_idx"] for step in client.steps(10) if step["type"] == "Step"] == list(range(1, 11))


def row_7_the_marker_after_the_models_delay(url: str, _: Samples) -> None:
    with moshi(url) as client:
        client.say("Marker", id=9)
        client.audio(np.zeros(6 * FRAME, np.float32))
        assert types(client.until_type("Marker"))[1:] == ["Step"] * 6 + ["Marker"]


def row_8_a_marker_and_nothing_more(url: str, digits: Samples) -> None:
    """Differs: it comes back all the same, behind every word, where upstream's never does."""
    with moshi(url) as client:
        client.audio(digits[: 27 * FRAME])
        client.say("Marker", id=9)
        heard = client.until_type("Marker")
        assert words(heard) == ["zero", "two", "zero"]
        assert types(heard).count("EndWord") == 3


def row_9_ids_of_64_bits(url: str, _: Samples) -> None:
    with moshi(url) as client:
        for id in (-5, 2**40, -(2**63), 2**63 - 1):  # noqa: A001
            client.say("Marker", id=id)
            assert client.until_type("Marker")[-1] == {"type": "Marker", "id": id}


def row_10_samples_of_every_width(url: str, digits: Samples) -> None:
    """Differs: bytes of little-endian float32 are taken too, where upstream drops the connection."""
    with moshi(url) as client:
        client.audio(digits[:FRAME], single=True)
        client.audio(digits[:FRAME], single=False)
        client.say("Audio", pcm=[0] * FRAME)
        client.say("Audio", pcm=digits[:FRAME].astype("<f4").tobytes())
        assert len(client.steps(4)) == 5


def row_11_a_text_message(url: str, _: Samples) -> None:
    """Differs: it is answered by an Error, where upstream says nothing; the stream lives in both."""
    with moshi(url) as client:
        client.send("x")
        client.audio(SILENCE)
        assert types(client.steps(1)) == ["Ready", "Error", "Step"]


def row_12_five_seconds_at_once(url: str, digits: Samples) -> None:
    with moshi(url) as client:
        client.audio(digits[: 5 * 24_000])
        steps = [message for message in client.steps(62) if message["type"] == "Step"]
        assert [step["buffered_pcm"] for step in steps] == [118_080 - 1_920 * number for number in range(62)]


def row_15_post(url: str, digits: Samples) -> None:
    answer = fetch(url + PATH, {"kyutai-api-key": KEY}, wav(digits[: 27 * FRAME]))
    heard = answer.json()
    assert answer.status == 200
    assert words(heard) == ["zero", "two", "zero"]
    assert [set(message) for message in heard[:2]] == [{"type", "text", "start_time"}, {"type", "stop_time"}]


def row_16_post_of_three_megabytes(url: str, digits: Samples) -> None:
    """Differs: it is transcribed, where upstream answers 413."""
    body = wav(np.concatenate([digits[: 27 * FRAME], np.zeros(1_500_000, np.float32)]))
    assert len(body) > 3_000_000
    assert words(fetch(url + PATH, {"kyutai-api-key": KEY}, body).json()) == ["zero", "two", "zero"]


def row_19_counts_as_text(url: str, _: Samples) -> None:
    (module,) = json.loads(fetch(url + "/api/modules_info").body)
    assert (module["type"], module["path"], module["total_slots"]) == ("batched_asr", PATH, "3")


def row_20_word_then_its_end_and_times(url: str, digits: Samples) -> None:
    with moshi(url) as client:
        client.audio(digits[: 30 * FRAME])
        heard = [message for message in client.steps(30) if message["type"] in ("Word", "EndWord")]
    assert heard[:4] == [
        {"type": "Word", "text": "zero", "start_time": 0.88},
        {"type": "EndWord", "stop_time": 1.28},
        {"type": "Word", "text": "two", "start_time": 1.28},
        {"type": "EndWord", "stop_time": 1.52},
    ]


ROWS = [row for name, row in globals().items() if name.startswith("row_")]


@pytest.mark.parametrize("row", ROWS, ids=[row.__name__ for row in ROWS])
def test_the_checklist(row: Callable[[str, Samples], None], url: str, digits: Samples) -> None:
    row(url, digits)


def wav(samples: Samples) -> bytes:
    """16-bit mono at 24 kHz."""
    data = (samples * 32_767).astype("<i2").tobytes()
    header = b"RIFF" + (36 + len(data)).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    form = b"\1\0\1\0" + (24_000).to_bytes(4, "little") + (48_000).to_bytes(4, "little") + b"\2\0\x10\0"
    return header + form + b"data" + len(data).to_bytes(4, "little") + data
