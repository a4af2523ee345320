"""What the runtimes of a server count, for Prometheus.

`asr_*` and `py_*` are the series of moshi-server that dashboards read (spec/moshi-server.md §8), of speech to text and
of text to speech: no label for the module, counters without `_total`. All others begin with `vivavoce_` and carry the
label `module`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

STEP_BUCKETS = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5)
WAIT_BUCKETS = (0.02, 0.04, 0.08, 0.12, 0.16, 0.24, 0.32, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60)
MOSHI_STEP_BUCKETS = (0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08)
MOSHI_LENGTH_BUCKETS = (2, 25, 125, 250, 500, 750, 1125, 1500, 2250, 3000, 4500)
PY_STEP_BUCKETS = (0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.08)
PY_LENGTH_BUCKETS = (2, 25, 62.5, 125, 250, 500, 750)
FACTOR_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.8, 0.9, 0.95, 1, 1.02, 1.05, 1.1, 1.2, 1.5, 2, 5)


class PlainCounter(Collector):
    """A counter whose name does not end in `_total`, which prometheus_client insists on: exposed as untyped."""

    def __init__(self, name: str, text: str, labels: dict[str, str], registry: CollectorRegistry) -> None:
        self._name, self._text, self._labels = name, text, labels
        self._count = 0
        registry.register(self)

    def inc(self, by: int = 1) -> None:
        self._count += by

    def collect(self) -> Iterator[Metric]:
        metric = Metric(self._name, self._text, "unknown")
        metric.add_sample(self._name, self._labels, self._count)
        yield metric


Kind = Literal["asr", "py"]  # speech to text, text to speech


class MoshiSeries:
    """Those that moshi-server has of both kinds of modules."""

    def __init__(self, kind: Kind, registry: CollectorRegistry) -> None:
        asr = kind == "asr"
        self.connect = PlainCounter(f"{kind}_connect", "Streams asked for", {"handler": "all"}, registry)
        self._open = Gauge(f"{kind}_open_channels", "Slots that are taken", ["handler"], registry=registry)
        self.open = self._open.labels("all")
        self.step = Histogram(
            f"{kind}_model_step_duration",
            "Seconds of a step",
            registry=registry,
            buckets=MOSHI_STEP_BUCKETS if asr else PY_STEP_BUCKETS,
        )
        self.length = Histogram(
            "asr_connection_num_steps" if asr else "py_model_connection_num_steps",
            "Steps of a stream",
            registry=registry,
            buckets=MOSHI_LENGTH_BUCKETS if asr else PY_LENGTH_BUCKETS,
        )


class Metrics:
    """One for each server; its runtimes share it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry, module = self.registry, ["module"]
        self.moshi = {kind: MoshiSeries(kind, registry) for kind in get_args(Kind)}

        def py(name: str, text: str) -> PlainCounter:
            return PlainCounter(f"py_{name}", text, {"handler": "all"}, registry)

        self.py_total = py("total_steps", "Steps that were made or had to wait for text")
        self.py_active = py("active_steps", "Steps that were made")
        self.py_missing = py("missing_words_steps", "Grants of streams that had to wait for text")
        self.py_could = py("could_have_run_steps", "Grants of streams that were taken")

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"vivavoce_{name}", text, [*module, *labels], registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"vivavoce_{name}", text, [*module, *labels], registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"vivavoce_{name}", text, module, registry=registry, buckets=buckets)

        self.streams = gauge("streams", "Streams that are open", "state")
        self.slots = gauge("slots", "Slots that there are")
        self.slots_used = gauge("slots_used", "Slots that are taken")
        self.queue = gauge("queue_seconds", "Audio of all streams that waits for its step, or spoken for its reader")
        self.load = gauge("real_time_load", "Predicted step of all streams as a share of 80 ms")
        self.capacity = gauge("capacity_streams", "Live streams that the measured step time allows")
        self.ready = gauge("ready", "Whether the engine is ready (1) or not (0)")
        self.step = histogram("step_seconds", "One step of the engine", STEP_BUCKETS)
        self.batch = histogram("step_streams", "Streams in a step", (1, 2, 4, 8, 16, 32, 64, 128, 256, 512))
        self.factor = histogram("real_time_factor", "Wall time of a stream over its audio, at its end", FACTOR_BUCKETS)
        self.first_word = histogram("first_word_seconds", "From the first audio to the first word", WAIT_BUCKETS)
        self.first_audio = histogram("first_audio_seconds", "From the first text to the first audio", WAIT_BUCKETS)
        self.flush = histogram("flush_seconds", "From a flush to its answer", WAIT_BUCKETS)
        self.audio = counter("audio_seconds", "Audio that was heard or spoken")
        self.words = counter("words", "Words that were heard or spoken")
        self.refusals = counter("refusals", "Streams that were refused", "reason")
        self.faults = counter("faults", "Streams that were ended before their end", "reason")
        self.restarts = counter("engine_restarts", "Engines that were replaced", "reason")
        self.malformed = counter("malformed_messages", "Messages that the engine could not read")
        self.suspects = counter("suspect_words", "Words that nobody can have said", "reason")
        self.heals = counter("heals", "Contexts begun afresh because the model had gone silent")

    def module(self, name: str, kind: Kind, *, steps: bool = True) -> ModuleMetrics:
        """The series of one module; its `steps` may be counted elsewhere."""
        return ModuleMetrics(self, name, kind, steps)


class ModuleMetrics:
    """The same with the label filled in."""

    def __init__(self, metrics: Metrics, name: str, kind: Kind, steps: bool) -> None:
        self._steps = steps
        self.all, self.moshi, self._name = metrics, metrics.moshi[kind], name
        self.step, self.batch = metrics.step.labels(name), metrics.batch.labels(name)
        self.factor, self.first_word = metrics.factor.labels(name), metrics.first_word.labels(name)
        self.flush = metrics.flush.labels(name)
        self.first_audio = metrics.first_audio.labels(name)
        self.audio, self.words = metrics.audio.labels(name), metrics.words.labels(name)
        self.malformed, self.heals = metrics.malformed.labels(name), metrics.heals.labels(name)
        self.slots = metrics.slots.labels(name)

    def stepped(self, streams: int, seconds: float) -> None:
        if not self._steps:
            return
        self.moshi.step.observe(seconds)
        self.step.observe(seconds)
        self.batch.observe(streams)

    def spoke(self, taken: int, starved: int) -> None:
        """So many grants of text to speech were taken, and so many could not be."""
        if not self._steps:
            return
        self.all.py_total.inc()
        self.all.py_active.inc(bool(taken))
        self.all.py_could.inc(taken)
        self.all.py_missing.inc(starved)

    def refused(self, reason: str) -> None:
        self.all.refusals.labels(self._name, reason).inc()

    def faulted(self, reason: str) -> None:
        self.all.faults.labels(self._name, reason).inc()

    def suspected(self, reason: str) -> None:
        self.all.suspects.labels(self._name, reason).inc()

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
