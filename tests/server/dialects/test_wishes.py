"""The query of /v1/stream: what is asked for, and a refusal that names what is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from vivavoce.server.dialects.wishes import Wishes, wishes
from vivavoce.server.errors import Refused


def test_nothing_asked_is_float32_at_24_khz() -> None:
    assert wishes(QueryParams("")) == Wishes("pcm_f32le", 24_000, idle=10)


def test_everything_may_be_asked() -> None:
    query = "format=pcm_s16le&sample_rate=16000&words=true&vad=1&vad_head=1&vad_threshold=0.25&temperature=0.5&seed=7"
    query += "&keyterm=a&keyterm=b%20c:2"
    asked = wishes(QueryParams(query + "&idle=60&resume=true&session=abc&seq=12&refusal=close&auth_id=k&token=t"))
    assert asked == Wishes(
        "pcm_s16le", 16_000, True, True, 1, 0.25, 0.5, 7, 60, True, "abc", 12, "close", keyterm=("a", "b c:2")
    )


@pytest.mark.parametrize("format", ["mulaw", "alaw"])
def test_telephony_is_8_khz_unless_said_otherwise(format: str) -> None:
    assert wishes(QueryParams(f"format={format}")).sample_rate == 8_000
    assert wishes(QueryParams(f"format={format}&sample_rate=16000")).sample_rate == 16_000


@pytest.mark.parametrize(
    ("query", "why"),
    {
        "wrods=true": "unknown parameter 'wrods'",
        "words=true&words=false": "words is there twice",
        "words=maybe": "words must be true or false, got 'maybe'",
        "format=mp3": "format must be pcm_f32le, pcm_s16le, mulaw, alaw or opus, got 'mp3'",
        "sample_rate=fast": "sample_rate must be a whole number from 4000 to 192000, got 'fast'",
        "sample_rate=100": "sample_rate must be a whole number from 4000 to 192000, got '100'",
        "vad_threshold=1.5": "vad_threshold must be a number from 0 to 1, got '1.5'",
        "vad_threshold=nan": "vad_threshold must be a number from 0 to 1, got 'nan'",
        "temperature=-1": "temperature must be a number from 0 to 10, got '-1'",
        "seed=-1": "seed must be a whole number",
        "seed=9999999999999999999999": "seed must be a whole number",
        "format=opus&sample_rate=48000": "sample_rate cannot be given with format=opus",
        "format=opus&resume=true": "resume cannot be asked for with format=opus",
        "session=abc": "session and seq need resume=true",
        "resume=true&seq=3": "seq needs the session",
        "resume=true&session=": "session must be the session of a ready message",
    }.items(),
    ids=lambda value: value[:30],
)
def test_what_cannot_be_is_refused_by_name(query: str, why: str) -> None:
    with pytest.raises(Refused, match=why) as caught:
        wishes(QueryParams(query))
    assert caught.value.fault.status == 400


@given(st.text(max_size=100))
def test_any_query_is_understood_or_refused(query: str) -> None:
    try:
        wishes(QueryParams(query))
    except Refused as refused:
        assert str(refused)  # noqa: PT017 (most are refused, not all)
