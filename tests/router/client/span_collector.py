"""What `tracing.setup` names in a test: spans of all actors go to one actor, which has them in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import ray
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

NAME = "span-collector"
NAMESPACE = "tests"


class Collector:
    """Has the spans that were sent, as JSON."""

    def __init__(self) -> None:
        self._spans: list[Any] = []

    def take(self, spans: list[Any]) -> None:
        self._spans += spans

    def spans(self) -> list[Any]:
        return self._spans


class ToCollector(SpanExporter):
    """Sends spans to the collector."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        collector: Any = ray.get_actor(NAME, namespace=NAMESPACE)
        collector.take.remote([json.loads(span.to_json()) for span in spans])
        return SpanExportResult.SUCCESS


def provider() -> TracerProvider:
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(ToCollector()))
    return made
