"""The spans of a stream actor's requests, under OpenTelemetry's semantic conventions for generative AI.

    invoke_agent AGENT          a request, from its open to its end; a child of the span that it was published in
      chat MODEL                one response of the model
      execute_tool TOOL         from a call's last piece to its return

Theory. After each event of a session the messages that it gained are looked at, by their heads alone. A response is a
row of the model's pieces under one message ID: another ID, or the end, ends its span. What it used is the growth of
the usage of the request's steps meanwhile. Times are those at which this actor was given the pieces, so what came in
one envelope has one time. An incarnation of a request that another one follows leaves no spans.

It only observes: a failure here is logged and fails no request. Nothing of this is called where spans are not wanted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from actors.logging_setup import is_telling
from actors.messages import TOOL_CALL
from actors.stop_reasons import is_failure
from actors.stream.log import Segment
from actors.stream.session import Session
from actors.tenants import own_name
from actors.tracing import TRACER, context_of
from actors.translator import Translator

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

logger: logging.Logger = logging.getLogger("actors.spans")

_NS_PER_S = 1_000_000_000
_FROM_MODEL = frozenset(
    {"reasoning_message", "hidden_reasoning_message", "assistant_message", TOOL_CALL, "function_call_message"}
)
# The names that the conventions have for providers.
_PROVIDERS = {
    "openai-chat": "openai",
    "openai-responses": "openai",
    "anthropic-messages": "anthropic",
    "gemini": "gcp.gemini",
}
_TOKENS = {
    "prompt_tokens": "gen_ai.usage.input_tokens",
    "completion_tokens": "gen_ai.usage.output_tokens",
    "cached_tokens": "gen_ai.usage.cache_read.input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
}

Usage = Mapping[str, int | None]


class RequestSpans:
    """The spans of all open requests of one stream actor."""

    def __init__(self, provider: TracerProvider, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._tracer = provider.get_tracer(TRACER)
        self._now_ns = now_ns
        self._open: dict[str, _Run] = {}
        self._failures = 0

    def follow(self, session: Session, now: float) -> None:
        """Look at what a session has gained."""
        try:
            run = self._open.get(session.request_id)
            if run is None or run.epoch != session.epoch:
                if session.translator is None:
                    return  # it ended elsewhere, or was followed to its end
                run = _Run(self._tracer, session, session.translator, now, self._now_ns())
                self._open[session.request_id] = run
            run.take(session, self._now_ns())
            if session.sealed:
                del self._open[session.request_id]
        except Exception:
            # Only observation, by the operator's own provider: the request goes on without it.
            self._open.pop(session.request_id, None)
            self._failures += 1
            if is_telling(self._failures):
                logger.exception("request %s: its spans failed", session.request_id)

    def forget(self, request_id: str) -> None:
        """Forget a request that is no longer here."""
        self._open.pop(request_id, None)


class _Run:
    """The spans of one request."""

    def __init__(self, tracer: Tracer, session: Session, translator: Translator, now: float, now_ns: int) -> None:
        self.epoch = session.epoch
        # A session lets go of it at its end, which may come with the first chunk.
        self._translator = translator
        self._tracer = tracer
        opened_ns = now_ns - int(session.age_s(now) * _NS_PER_S)
        agent_id = next(iter(session.owner), None)
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "invoke_agent",
            "request_id": own_name(session.request_id),
            "epoch": session.epoch,
        }
        if agent_id is not None:
            attributes["gen_ai.agent.id"] = own_name(agent_id)
        self._whole = tracer.start_span(
            _named("invoke_agent", attributes.get("gen_ai.agent.id")),
            context=context_of(session.settings.traceparent),
            attributes=attributes,
            start_time=opened_ns,
        )
        self._within = _within(self._whole)
        self._cursor = 0
        self._steps = 0
        # When the model may have been asked for what comes next.
        self._asked_ns = opened_ns
        self._heard_ns = opened_ns
        self._chat: Span | None = None
        self._chat_id: object = None
        self._counted: dict[str, int] = {}
        self._finish: str | None = None
        self._error: str | None = None
        self._last_usage: Mapping[str, Any] = {}
        self._model: str | None = None
        self._provider = "auto"
        # Calls that have not returned: name, when their last piece came, whether the provider runs the tool itself.
        self._calls: dict[str, tuple[str, int, bool]] = {}

    def take(self, session: Session, now_ns: int) -> None:
        """Begin and end spans by the messages that the session has gained."""
        interface = self._translator.interface
        self._model, self._provider = interface.model, self._translator.provider
        heard = self._chat
        for segment in session.log.since(self._cursor):
            self._segment(segment, now_ns)
        self._cursor = session.log.last_seq
        self._finish = interface.provider_reason or self._finish
        if interface.step_count != self._steps:
            self._steps = interface.step_count
            if self._chat is heard:
                self._asked_ns = now_ns  # a step was begun, and the model has not spoken yet
        if session.stop_reason is not None:
            self._end(session.stop_reason, now_ns)

    def _segment(self, segment: Segment, now_ns: int) -> None:
        kind, fields = segment.head.kind, segment.head.fields
        if kind in _FROM_MODEL and not fields.get("choice_index"):
            if self._chat is not None and self._chat_id != fields.get("id"):
                # What the next one has used may be known already, where both came in one envelope.
                self._end_chat(self._translator.interface.usage_before, self._heard_ns)
            if self._chat is None:
                self._begin_chat(fields.get("id"), now_ns)
            self._heard_ns = now_ns
            if kind == TOOL_CALL and fields.get("tool_call_id"):
                self._called(segment, now_ns)
        elif kind == "tool_return_message":
            self._returned(fields, now_ns)
            self._asked_ns = now_ns
        elif kind == "error_message":
            self._error = str(fields.get("error_type") or "error")
        elif kind == "stop_reason":
            self._finish = fields.get("provider_reason") or self._finish
        elif kind == "usage_statistics":
            self._finish_usage(fields)

    # --- responses --------------------------------------------------------------------------

    def _begin_chat(self, message_id: object, now_ns: int) -> None:
        from opentelemetry.trace import SpanKind  # noqa: PLC0415  # an extra

        self._chat_id = message_id
        self._chat = self._tracer.start_span(
            "chat", context=self._within, kind=SpanKind.CLIENT, start_time=self._asked_ns
        )
        self._chat.set_attribute("gen_ai.operation.name", "chat")
        self._chat.set_attribute("gen_ai.request.stream", True)
        self._chat.set_attribute("gen_ai.response.time_to_first_chunk", (now_ns - self._asked_ns) / _NS_PER_S)

    def _end_chat(self, usage: Usage, end_ns: int, stop_reason: str | None = None) -> None:
        chat, self._chat = self._chat, None
        if chat is None:
            return
        chat.update_name(_named("chat", self._model))
        chat.set_attribute("gen_ai.provider.name", _PROVIDERS.get(self._provider, self._provider))
        if self._model is not None:
            # What was asked for is not known here; the conventions want it, and it is seldom another.
            chat.set_attribute("gen_ai.request.model", self._model)
            chat.set_attribute("gen_ai.response.model", self._model)
        for field, attribute in _TOKENS.items():
            used = (usage.get(field) or 0) - self._counted.get(field, 0)
            if used > 0:
                chat.set_attribute(attribute, used)
                self._counted[field] = self._counted.get(field, 0) + used
        finish = self._finish or stop_reason or ("tool_call" if self._calls else None)
        if finish is not None:
            chat.set_attribute("gen_ai.response.finish_reasons", [finish])
        self._finish = None
        if self._error is not None or (stop_reason is not None and is_failure(stop_reason)):
            _fail(chat, self._error or stop_reason or "error")
        chat.end(end_ns)

    # --- tools ------------------------------------------------------------------------------

    def _called(self, segment: Segment, now_ns: int) -> None:
        fields = segment.head.fields
        call_id = str(fields["tool_call_id"])
        known = self._calls.get(call_id)
        name = segment.extra_of_first().get("tool_name") or (known[0] if known else "")
        self._calls[call_id] = (str(name), now_ns, bool(fields.get("provider_executed")))

    def _returned(self, fields: Mapping[str, Any], now_ns: int) -> None:
        call_id = str(fields.get("tool_call_id"))
        name, called_ns, is_providers = self._calls.pop(call_id, (str(fields.get("name") or ""), now_ns, False))
        span = self._tracer.start_span(
            _named("execute_tool", name),
            context=self._within,
            attributes={
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": name,
                "gen_ai.tool.call.id": call_id,
                "gen_ai.tool.type": "extension" if is_providers else "function",
            },
            start_time=called_ns,
        )
        if fields.get("status") == "error":
            _fail(span, "tool_error")
        span.end(now_ns)

    # --- the end ----------------------------------------------------------------------------

    def _finish_usage(self, fields: Mapping[str, Any]) -> None:
        self._whole.set_attributes({name: fields[field] for field, name in _TOKENS.items() if fields.get(field)})
        self._last_usage = fields

    def _end(self, stop_reason: str, now_ns: int) -> None:
        self._end_chat(self._last_usage, now_ns, stop_reason)
        self._whole.set_attribute("stop_reason", stop_reason)
        if is_failure(stop_reason):
            _fail(self._whole, self._error or stop_reason)
        self._whole.end(now_ns)


def _named(operation: str, what: str | None) -> str:
    return f"{operation} {what}" if what else operation


def _within(span: Span) -> Context:
    from opentelemetry.trace import set_span_in_context  # noqa: PLC0415  # an extra

    return set_span_in_context(span)


def _fail(span: Span, error_type: str) -> None:
    from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415  # an extra

    span.set_attribute("error.type", error_type)
    span.set_status(Status(StatusCode.ERROR, error_type))
