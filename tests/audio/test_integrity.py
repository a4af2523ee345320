"""Synthetic recordings, each broken in one way, and one that is whole."""

from __future__ import annotations

import numpy as np
import pytest

from vivavoce.audio.integrity import examine
from vivavoce.core import SAMPLE_RATE


def whole() -> np.ndarray:
    """A second of something like a voice: harmonics and noise, in and out gently."""
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    voice = sum(np.sin(2 * np.pi * 120 * n * time) / n for n in range(1, 20)) / 4
    breath = 0.02 * np.random.default_rng(0).normal(size=len(time))
    gently = np.clip(np.minimum(time, 1 - time) / 0.1, 0, 1)
    return (0.6 * gently * (voice + breath)).astype(np.float32)


def test_whole_audio_has_no_fault() -> None:
    found = examine(whole())
    assert found.faults == []
    assert found.seconds == 1
    assert found.peak_dbfs is not None
    assert -12 < found.peak_dbfs < 0


def test_a_click_is_found_where_it_is() -> None:
    broken = whole()
    broken[2_400] += 0.9
    broken[15_000:] *= 0.1
    broken[15_000] = -0.8
    found = examine(broken)
    assert found.clicks[0] == pytest.approx(0.1, abs=0.001)
    assert found.faults[0].endswith("clicks, the first at 0.100 s")
    assert any(abs(time - 15_000 / SAMPLE_RATE) < 0.001 for time in found.clicks)


@pytest.mark.parametrize(
    ("samples", "fault"),
    [
        (whole()[:12_345], "it ends at"),
        (whole()[12_345:], "it begins at"),
        (np.clip(8 * whole(), -0.99, 0.99), "samples are clipped"),
        (np.zeros(1_000, np.float32), "silence only"),
        (np.zeros(0, np.float32), "there is no audio"),
        (np.where(np.arange(SAMPLE_RATE) == 9_000, np.nan, whole()), "1 samples are not finite"),
    ],
)
def test_every_fault_is_named(samples: np.ndarray, fault: str) -> None:
    faults = examine(samples.astype(np.float32)).faults
    assert [line for line in faults if fault in line], faults
    assert examine(samples.astype(np.float32)).as_json()["faults"] == faults
