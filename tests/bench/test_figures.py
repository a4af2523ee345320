"""Percentiles, histograms of a server, gates and the search for capacity."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Histogram as Exposed

from vivavoce.bench.figures import Summary, summarise
from vivavoce.bench.gate import PRECISION, Gate, ramp
from vivavoce.bench.histogram import Histogram, read
from vivavoce.bench.load import Report, Steps


def test_a_summary_of_one_to_a_hundred() -> None:
    assert summarise(map(float, range(101))) == Summary(50.0, 0.0, 50.0, 95.0, 99.0, 100.0, 101)


def test_what_was_not_measured_is_left_out() -> None:
    assert summarise([None, 2.0, None]) == Summary(2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1)
    assert summarise([None]) is None


def page(values: dict[str, list[float]]) -> str:
    """What a server exposes: a histogram with a label for its module."""
    registry = CollectorRegistry()
    exposed = Exposed("steps", "of the engine", ["module"], buckets=(0.02, 0.04, 0.08), registry=registry)
    for module, seconds in values.items():
        for value in seconds:
            exposed.labels(module).observe(value)
    return generate_latest(registry).decode()


def read_page(values: dict[str, list[float]]) -> Histogram:
    found = read(page(values), ["absent", "steps"])
    assert found is not None
    return found


def test_modules_are_summed() -> None:
    found = read_page({"a": [0.01, 0.03], "b": [0.07, 1.0]})
    assert found.counts == (1, 2, 3, 4)
    assert found.mean == pytest.approx(1.11 / 4)


def test_a_quantile_is_linear_within_its_bucket_and_unknown_beyond_the_last() -> None:
    found = read_page({"a": [0.01, 0.03, 0.03, 0.07]})
    assert found.quantile(0.25) == pytest.approx(0.02)
    assert found.quantile(0.5) == pytest.approx(0.03)
    assert found.quantile(1.0) == pytest.approx(0.08)
    assert read_page({"a": [1.0]}).quantile(0.95) is None
    assert read_page({"a": []}).quantile(0.95) is None


def test_a_bound_of_the_histogram_is_judged_exactly() -> None:
    found = read_page({"a": [0.079] * 95 + [0.081] * 5})
    assert found.share_within(0.08) == pytest.approx(0.95)
    assert found.quantile(0.95) == pytest.approx(0.08)


def test_the_difference_of_two_readings_is_what_came_between() -> None:
    early, late = read_page({"a": [0.01]}), read_page({"a": [0.01, 0.07, 0.07]})
    assert late.since(early).counts == (0, 0, 2, 2)
    assert late.since(early).mean == pytest.approx(0.07)
    assert early.since(late) == early  # the server has begun anew
    assert late.since(None) == late


def test_a_page_without_it_gives_none() -> None:
    assert read(page({}), ["absent"]) is None


QUICK = Summary(0.1, 0.1, 0.1, 0.14, 0.15, 0.2, 64)
GOOD = Report(
    streams=64, refused=[], failed=[], behind=0, audio_seconds=64.0, wall_seconds=1.0, wer=0.02, lone_wer=0.02,
    differences=0, shifted=0, connect=QUICK, speech_to_token=QUICK, final_text=QUICK, flushed=QUICK,
    server_flush_p95=0.14, sent_late=QUICK, steps=Steps(100, 20.0, 20.0, 40.0, 1.0, 40.0), restarts=0, clients_cpu=1.0,
)  # fmt: skip
STRICT = Gate(0.25, 150.0, 80.0, 0)


def test_a_good_load_passes() -> None:
    assert STRICT.faults(GOOD) == []
    assert (GOOD.ran, GOOD.speed_x, GOOD.rtf) == (64, 64.0, 1 / 64)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"refused": ["capacity: every slot is taken"]}, "1 of 64 streams refused: capacity: every slot is taken"),
        ({"failed": ["lost", "lost"]}, "2 of 64 streams failed: lost"),
        ({"behind": 3}, "3 of 64 streams fell behind by more than a second"),
        ({"wer": 0.2501}, "word error rate 0.250, at most 0.25 allowed"),
        ({"differences": 1}, "1 words differ from a lone stream's, at most 0 may"),
        ({"flushed": replace(QUICK, p95=0.1501)}, "final text p95 150.1 ms, at most 150 ms allowed"),
        ({"steps": replace(GOOD.steps, p95_ms=81.0)}, "step p95 81.0 ms, at most 80 ms allowed"),
        ({"steps": replace(GOOD.steps, p95_ms=None)}, "step p95 is beyond the last bound of the server's histogram"),
        ({"steps": None}, "the server does not tell its step times, which --step-max asks for"),
    ],
)
def test_each_fault_is_one_line(change: dict[str, object], line: str) -> None:
    assert STRICT.faults(replace(GOOD, **change)) == [line]  # type: ignore[arg-type]


def test_without_limits_only_streams_that_end_badly_or_fall_behind_count() -> None:
    poor = replace(GOOD, wer=9.0, differences=99, flushed=replace(QUICK, p95=0.9), steps=None)
    assert Gate(None).faults(poor) == []


@given(capacity=st.integers(0, 1100), first=st.integers(1, 200), most=st.integers(1, 1024))
def test_the_ramp_finds_the_capacity_within_its_precision(capacity: int, first: int, most: int) -> None:
    tried: list[int] = []

    async def passes(streams: int) -> bool:
        tried.append(streams)
        return streams <= capacity

    found = asyncio.run(ramp(passes, first, most))
    true = min(capacity, most)
    assert found <= true
    assert true - found <= max(0, found // PRECISION)
    assert len(set(tried)) == len(tried) <= 22
    assert all(1 <= streams <= most for streams in tried)
