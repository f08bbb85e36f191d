"""OpenTelemetry: the provider that a configuration names, and the span that a publisher was in.

`tracing.setup: module:function` names a function that returns a `TracerProvider`: where spans go, and how many of
them, is decided there. A request's `traceparent` (W3C trace context) travels with its settings.
"""

from __future__ import annotations

import importlib
import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider

logger: logging.Logger = logging.getLogger("actors.tracing")

TRACER = "agent-stream-router"


def provider_of(setup: str) -> TracerProvider | None:
    """Call the function that the configuration names; None, and a line in the log, where that fails."""
    module, _, function = setup.partition(":")
    try:
        provider: TracerProvider = getattr(importlib.import_module(module), function)()
        provider.get_tracer(TRACER)
    except Exception:
        # The operator's code, and only for observation: an actor runs without it.
        logger.exception("tracing.setup = %s failed; there will be no spans", setup)
        return None
    return provider


def current_traceparent() -> str | None:
    """Return the span that is current here, as a W3C trace context; None where there is none.

    A program without spans has not loaded OpenTelemetry, and this does not load it.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    current = trace.get_current_span()
    span = None if current is trace.INVALID_SPAN else current.get_span_context()
    if span is None or not span.is_valid:
        return None
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags):02x}"


def context_of(traceparent: str | None) -> Context | None:
    """Return what a span that belongs to this one is started in; None: it begins a trace of its own."""
    if traceparent is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415  # an extra
        TraceContextTextMapPropagator,
    )

    return TraceContextTextMapPropagator().extract({"traceparent": traceparent})


def log_fields(traceparent: str | None) -> dict[str, str]:
    """Return what a log line of a request says of its trace."""
    if traceparent is None:
        return {}
    _, trace_id, span_id, _ = traceparent.split("-")
    return {"trace_id": trace_id, "span_id": span_id}
