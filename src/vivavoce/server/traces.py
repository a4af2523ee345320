"""OpenTelemetry: one span for each stream, sent where OTEL_EXPORTER_OTLP_ENDPOINT says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vivavoce.core import UnsupportedError

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

_tracer: Tracer | None = None


def set_up(instance: str) -> Callable[[], None]:
    """Begins to trace; the function returned sends what is left. Raises UnsupportedError without the extra."""
    global _tracer
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        missing = f"there is no module {error.name}"
        raise UnsupportedError(f"traces need the extra otel (pip install 'vivavoce[otel]'): {missing}") from None
    resource = Resource.create({"service.name": "vivavoce", "service.instance.id": instance})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = provider.get_tracer("vivavoce.server")

    def end() -> None:
        global _tracer
        _tracer = None
        provider.shutdown()

    return end


def tracer() -> Tracer | None:
    """None while nothing is traced."""
    return _tracer
