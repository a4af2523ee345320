"""What the runtimes of a server count, for Prometheus.

`asr_*` are the series of moshi-server that dashboards read (spec/moshi-server.md §8): no label for the module, counters
without `_total`. All others begin with `vivavoce_` and carry the label `module`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

STEP_BUCKETS = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5)
WAIT_BUCKETS = (0.02, 0.04, 0.08, 0.12, 0.16, 0.24, 0.32, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60)
MOSHI_STEP_BUCKETS = (0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08)
MOSHI_LENGTH_BUCKETS = (2, 25, 125, 250, 500, 750, 1125, 1500, 2250, 3000, 4500)
FACTOR_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.8, 0.9, 0.95, 1, 1.02, 1.05, 1.1, 1.2, 1.5, 2, 5)


class PlainCounter(Collector):
    """A counter whose name does not end in `_total`, which prometheus_client insists on: exposed as untyped."""

    def __init__(self, name: str, text: str, labels: dict[str, str], registry: CollectorRegistry) -> None:
        self._name, self._text, self._labels = name, text, labels
        self._count = 0
        registry.register(self)

    def inc(self) -> None:
        self._count += 1

    def collect(self) -> Iterator[Metric]:
        metric = Metric(self._name, self._text, "unknown")
        metric.add_sample(self._name, self._labels, self._count)
        yield metric


class Metrics:
    """One for each server; its runtimes share it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry, module = self.registry, ["module"]
        self.asr_connect = PlainCounter("asr_connect", "Streams asked for", {"handler": "all"}, registry)
        self._asr_open = Gauge("asr_open_channels", "Slots that are taken", ["handler"], registry=registry)
        self.asr_open = self._asr_open.labels("all")
        self.asr_step = Histogram(
            "asr_model_step_duration", "Seconds of a step", registry=registry, buckets=MOSHI_STEP_BUCKETS
        )
        self.asr_length = Histogram(
            "asr_connection_num_steps", "Steps of a stream", registry=registry, buckets=MOSHI_LENGTH_BUCKETS
        )

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"vivavoce_{name}", text, [*module, *labels], registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"vivavoce_{name}", text, [*module, *labels], registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"vivavoce_{name}", text, module, registry=registry, buckets=buckets)

        self.streams = gauge("streams", "Streams that are open", "state")
        self.slots = gauge("slots", "Slots that there are")
        self.slots_used = gauge("slots_used", "Slots that are taken")
        self.queue = gauge("queue_seconds", "Audio of all streams that waits for its step")
        self.load = gauge("real_time_load", "Predicted step of all streams as a share of 80 ms")
        self.capacity = gauge("capacity_streams", "Live streams that the measured step time allows")
        self.ready = gauge("ready", "Whether the engine is ready (1) or not (0)")
        self.step = histogram("step_seconds", "One step of the engine", STEP_BUCKETS)
        self.batch = histogram("step_streams", "Streams in a step", (1, 2, 4, 8, 16, 32, 64, 128, 256, 512))
        self.factor = histogram("real_time_factor", "Wall time of a stream over its audio, at its end", FACTOR_BUCKETS)
        self.first_word = histogram("first_word_seconds", "From the first audio to the first word", WAIT_BUCKETS)
        self.flush = histogram("flush_seconds", "From a flush to its answer", WAIT_BUCKETS)
        self.audio = counter("audio_seconds", "Audio that was stepped")
        self.words = counter("words", "Words that were given")
        self.refusals = counter("refusals", "Streams that were refused", "reason")
        self.faults = counter("faults", "Streams that were ended before their end", "reason")
        self.restarts = counter("engine_restarts", "Engines that were replaced", "reason")
        self.malformed = counter("malformed_messages", "Messages that the engine could not read")
        self.heals = counter("heals", "Contexts begun afresh because the model had gone silent")

    def module(self, name: str) -> ModuleMetrics:
        """The series of one module."""
        return ModuleMetrics(self, name)


class ModuleMetrics:
    """The same with the label filled in."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self.all, self._name = metrics, name
        self.step, self.batch = metrics.step.labels(name), metrics.batch.labels(name)
        self.factor, self.first_word = metrics.factor.labels(name), metrics.first_word.labels(name)
        self.flush = metrics.flush.labels(name)
        self.audio, self.words = metrics.audio.labels(name), metrics.words.labels(name)
        self.malformed, self.heals = metrics.malformed.labels(name), metrics.heals.labels(name)
        self.slots = metrics.slots.labels(name)

    def stepped(self, streams: int, seconds: float) -> None:
        self.all.asr_step.observe(seconds)
        self.step.observe(seconds)
        self.batch.observe(streams)

    def refused(self, reason: str) -> None:
        self.all.refusals.labels(self._name, reason).inc()

    def faulted(self, reason: str) -> None:
        self.all.faults.labels(self._name, reason).inc()

    def restarted(self, reason: str) -> None:
        self.all.restarts.labels(self._name, reason).inc()

    def watch(self, **values: Callable[[], float]) -> None:
        """Gauges that are computed whenever somebody asks: `slots_used`, `queue`, `load`, `capacity`, `ready`."""
        for name, value in values.items():
            getattr(self.all, name).labels(self._name).set_function(value)

    def watch_streams(self, **states: Callable[[], float]) -> None:
        """How many streams are in each state."""
        for state, value in states.items():
            self.all.streams.labels(self._name, state).set_function(value)
