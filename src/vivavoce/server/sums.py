"""The metrics of several processes as those of one server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import generate_latest
from prometheus_client.core import Metric

# Of the engine, which every worker knows: all others are added up.
_SAME = {"vivavoce_slots", "vivavoce_slots_used", "vivavoce_real_time_load", "vivavoce_capacity_streams"}
_LEAST = {"vivavoce_ready"}


class Sums:
    """A collector for `generate_latest`: each sample once, the values of all processes in it."""

    def __init__(self, parts: Iterable[Sequence[Metric]]) -> None:
        self._parts = list(parts)

    def collect(self) -> list[Metric]:
        """Metrics in the order in which they are met."""
        found = dict[str, Metric]()
        values = dict[str, dict[tuple[str, frozenset[tuple[str, str]]], float]]()
        for metric in (metric for part in self._parts for metric in part):
            found.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
            mine = values.setdefault(metric.name, {})
            for sample in metric.samples:
                key = sample.name, frozenset(sample.labels.items())
                mine[key] = _together(sample.name, mine[key], sample.value) if key in mine else sample.value
        for name, metric in found.items():
            for (sample_name, labels), value in values[name].items():
                metric.add_sample(sample_name, dict(labels), value)
        return list(found.values())

    def text(self) -> bytes:
        """In Prometheus's format."""
        return generate_latest(self)


def lasting(metrics: Sequence[Metric]) -> list[Metric]:
    """What stays of a process that has ended: all that only grows."""
    return [metric for metric in metrics if metric.type != "gauge"]


def _together(name: str, one: float, other: float) -> float:
    if name.endswith("_created") or name in _LEAST:
        return min(one, other)
    return max(one, other) if name in _SAME else one + other
