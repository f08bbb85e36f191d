"""OpenTelemetry: one span a request, from its opening to its end, with what happened to it as events.

Off unless the configuration names a function (`tracing.setup: module:function`) that returns a
`TracerProvider`: where spans go, and how many of them, is then decided there. Needs the extra `otel`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from actors.tracing import TRACER, context_of, provider_of
from router.core.effects import CANCELLED, ENDED, MOVED, OPENED, PLACED, Note

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

_DETAIL = {PLACED: "stream_actor", MOVED: "stream_actor", CANCELLED: "reason"}
_FAILED = frozenset({"error", "lost", "publisher_lost", "incomplete"})


class Spans:
    """The spans of a router actor's open requests. A request adopted from an earlier incarnation has none."""

    def __init__(self, provider: TracerProvider, router: str, shard: int) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer(TRACER)
        self._attributes: dict[str, str | int] = {"router": router, "shard": shard}
        self._open: dict[str, Span] = {}

    @classmethod
    def set_up(cls, setup: str, router: str, shard: int) -> Spans | None:
        """Call the function that the configuration names; None, and a line in the log, where that fails."""
        provider = provider_of(setup)
        return None if provider is None else cls(provider, router, shard)

    def take(self, notes: Iterable[Note]) -> None:
        """Begin, mark and end spans."""
        for note in notes:
            if note.kind == OPENED:
                attributes = {**self._attributes, "request_id": note.request_id}
                self._open[note.request_id] = self._tracer.start_span(
                    "request", context=context_of(note.traceparent), attributes=attributes
                )
                continue
            span = self._open.get(note.request_id)
            if span is None:
                continue
            if note.kind == ENDED:
                del self._open[note.request_id]
                self._end(span, note.detail or "")
            else:
                detail = {_DETAIL[note.kind]: note.detail} if note.detail and note.kind in _DETAIL else {}
                span.add_event(note.kind, {"epoch": note.epoch, **detail})

    @staticmethod
    def _end(span: Span, stop_reason: str) -> None:
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415  # an extra

        span.set_attribute("stop_reason", stop_reason)
        if stop_reason in _FAILED or stop_reason.startswith("timeout_"):
            span.set_status(Status(StatusCode.ERROR, stop_reason))
        span.end()

    def close(self) -> None:
        """Send what has ended; requests still open get no span."""
        self._provider.shutdown()
