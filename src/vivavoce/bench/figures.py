"""Many measurements in six figures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Summary:
    """Average, extremes and percentiles (linear between neighbours), in the unit of what was measured."""

    avg: float
    min: float
    p50: float
    p95: float
    p99: float
    max: float
    count: int


def summarise(values: Iterable[float | None]) -> Summary | None:
    """None where nothing was measured; a None among the values is left out."""
    measured = np.array([value for value in values if value is not None], np.float64)
    if not len(measured):
        return None
    low, p50, p95, p99, high = (float(value) for value in np.percentile(measured, (0, 50, 95, 99, 100)))
    return Summary(float(measured.mean()), low, p50, p95, p99, high, len(measured))
