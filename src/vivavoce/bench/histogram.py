"""A Prometheus histogram as a server exposes it, and what is between two readings of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Histogram:
    """Observations at most `bounds[i]` seconds long, `counts[i]` of them; the last bound is infinite."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    total: float  # seconds

    @property
    def count(self) -> float:
        """All observations."""
        return self.counts[-1] if self.counts else 0.0

    @property
    def mean(self) -> float | None:
        """Seconds; None where there are none."""
        return self.total / self.count if self.count else None

    def since(self, earlier: Histogram | None) -> Histogram:
        """What was observed after an earlier reading; all of it if the server has begun anew since."""
        if earlier is None or earlier.bounds != self.bounds or earlier.count > self.count:
            return self
        counts = tuple(now - then for now, then in zip(self.counts, earlier.counts, strict=True))
        return Histogram(self.bounds, counts, self.total - earlier.total)

    def quantile(self, share: float) -> float | None:
        """Seconds, linear within a bucket as Prometheus does it; None where there is nothing, or only a lower bound."""
        if not self.count:
            return None
        rank = share * self.count
        place = next(i for i, count in enumerate(self.counts) if count >= rank)
        below, above = (self.bounds[place - 1] if place else 0.0), self.bounds[place]
        if math.isinf(above):
            return None
        before = self.counts[place - 1] if place else 0.0
        return below + (above - below) * (rank - before) / (self.counts[place] - before)

    def share_within(self, seconds: float) -> float | None:
        """The share of observations known to be at most that long: exact where it is a bound, else too low."""
        if not self.count:
            return None
        known = [count for bound, count in zip(self.bounds, self.counts, strict=True) if bound <= seconds]
        return (known[-1] if known else 0.0) / self.count


def read(page: str, names: Sequence[str]) -> Histogram | None:
    """The first of these that a /metrics page has, its labels summed."""
    families = {family.name: family for family in text_string_to_metric_families(page)}
    for name in names:
        if family := families.get(name):
            counts = dict[float, float]()
            total = 0.0
            for sample in family.samples:
                if sample.name == f"{name}_bucket":
                    bound = float(sample.labels["le"])
                    counts[bound] = counts.get(bound, 0.0) + sample.value
                elif sample.name == f"{name}_sum":
                    total += sample.value
            bounds = tuple(sorted(counts))
            return Histogram(bounds, tuple(counts[bound] for bound in bounds), total)
    return None
