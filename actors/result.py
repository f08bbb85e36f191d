"""What a request came to: its messages put together into one `Result`. Pure.

The text is that of the assistant's messages, one after the other, to the letter as the batches say it; so is
the reasoning. Where a request gives several choices, both are those of the first one; the others stand in
`messages`, and so does everything else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from actors.errors import RequestCancelled, RequestFailed, RequestLost, RequestTimedOut
from actors.joining import Joiner, Part, parsed
from actors.message_factory import MessageFactory
from actors.messages import (
    AssistantMessage,
    ErrorMessage,
    Fields,
    Message,
    ReasoningMessage,
    StopReasonMessage,
    ToolCallMessage,
    ToolReturnMessage,
    UsageStatisticsMessage,
)
from actors.openai_format import text_of
from actors.stop_reasons import StopReason, is_failure

DETAIL_CHARACTERS_MAX = 500


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool, with what came back.

    `arguments`: the parsed JSON; {} where the call has none, None where `arguments_text` is no JSON. `returned`:
    the message of its return, the last one where there are several; None where none was published.
    """

    name: str
    arguments: Any
    arguments_text: str
    tool_call_id: str | None = None
    provider_executed: bool = False
    choice_index: int = 0
    returned: ToolReturnMessage | None = None

    @property
    def has_failed(self) -> bool:
        """Whether its return says that the tool has failed."""
        return self.returned is not None and self.returned.status == "error"


@dataclass(frozen=True, slots=True)
class Timings:
    """When things came, as this reader saw it, in seconds from its call. A request that was over is read at once."""

    first_message_s: float | None
    total_s: float


@dataclass(frozen=True, slots=True)
class Result:
    """What a request came to.

    `messages`: all of them, whole, in order. `gaps`: (first, last) seq_ids that retention had dropped; what
    they held is in none of the fields.
    """

    request_id: str
    text: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...]
    stop_reason: str
    usage: UsageStatisticsMessage | None
    timings: Timings
    messages: tuple[Message, ...] = field(repr=False)
    provider_reason: str | None = None
    detail: str | None = None
    error: ErrorMessage | None = None
    gaps: tuple[tuple[int, int], ...] = ()

    @property
    def answer(self) -> str:
        """What the last of the assistant's messages says: of an agent that spoke between its tools, the end."""
        return next(
            (text_of(m.content) for m in reversed(self.messages) if isinstance(m, AssistantMessage) and m.content), ""
        )

    @property
    def has_failed(self) -> bool:
        """Whether it ended neither by itself nor by a limit of the model's."""
        return is_failure(self.stop_reason)

    def failure(self) -> RequestFailed | None:
        """Return the error that a failed end is raised as; None for a good end."""
        if not self.has_failed:
            return None
        kind = _FAILURES.get(self.stop_reason, RequestFailed)
        return kind(self._why(), self)

    def _why(self) -> str:
        said = self.detail if self.error is None else f"{self.error.error_type}: {self.error.message}"
        parts = [f"request {self.request_id!r} ended as {self.stop_reason!r}"]
        if said:
            parts.append(f": {said[:DETAIL_CHARACTERS_MAX]}")
        elif self.provider_reason:
            parts.append(f" (the provider's word: {self.provider_reason[:DETAIL_CHARACTERS_MAX]!r})")
        parts.append(
            f"; it had said {len(self.text)} characters, which stand in `error.result`; "
            "result(..., raise_failed=False) returns it as it is"
        )
        return "".join(parts)


_FAILURES: dict[str, type[RequestFailed]] = {
    StopReason.CANCELLED: RequestCancelled,
    StopReason.LOST: RequestLost,
    StopReason.TIMEOUT_FIRST_MESSAGE: RequestTimedOut,
    StopReason.TIMEOUT_STALL: RequestTimedOut,
    StopReason.TIMEOUT_REQUEST: RequestTimedOut,
    StopReason.TIMEOUT_IDLE_READER: RequestTimedOut,
}


class ResultBuilder:
    """Puts the parts of one request, in order, together. Then `result` says what it came to."""

    __slots__ = ("_gaps", "_joiner", "_parts", "_request_id")

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._joiner = Joiner()
        self._parts: list[Part] = []
        self._gaps: list[tuple[int, int]] = []

    def feed(self, parts: Iterable[tuple[int, Fields, str | None, Fields | None]]) -> None:
        """Take parts."""
        self._parts += self._joiner.feed(parts)

    def gap(self, first: int, last: int) -> None:
        """Note what retention has dropped; what stands before it and behind it are two messages."""
        self._parts += self._joiner.take()
        self._gaps.append((first, last))

    def result(self, timings: Timings) -> Result:
        """Return what the request came to, which has ended."""
        self._parts += self._joiner.take()
        messages: list[Any] = [model_of(part) for part in self._parts]
        stop = next((m for m in reversed(messages) if isinstance(m, StopReasonMessage)), None)
        return Result(
            self._request_id,
            text="".join(text_of(m.content) for m in messages if isinstance(m, AssistantMessage) and _is_first(m)),
            reasoning="".join(m.reasoning for m in messages if isinstance(m, ReasoningMessage) and _is_first(m)),
            tool_calls=_calls_of(messages),
            stop_reason=StopReason.LOST if stop is None else stop.stop_reason,
            usage=next((m for m in reversed(messages) if isinstance(m, UsageStatisticsMessage)), None),
            timings=timings,
            messages=tuple(messages),
            provider_reason=None if stop is None else stop.provider_reason,
            detail=None if stop is None else stop.detail,
            error=next((m for m in messages if isinstance(m, ErrorMessage)), None),
            gaps=tuple(self._gaps),
        )


def model_of(part: Part) -> Any:
    """Return the message that a part is."""
    return MessageFactory(part.fields).make(part.text, part.extra, part.seq_id)


def _is_first(message: Any) -> bool:
    return not message.choice_index


def _calls_of(messages: Iterable[Any]) -> tuple[ToolCall, ...]:
    # Where pieces of two calls alternate, one call stands in several messages: they share what names the call.
    calls: dict[tuple[Any, ...], list[ToolCallMessage]] = {}
    returns: dict[str, ToolReturnMessage] = {}
    for message in messages:
        if isinstance(message, ToolCallMessage):
            key = (message.choice_index, message.id, message.otid, message.tool_call.tool_call_id)
            calls.setdefault(key, []).append(message)
        elif isinstance(message, ToolReturnMessage):
            returns[message.tool_call_id] = message
    return tuple(_call_of(pieces, returns) for pieces in calls.values())


def _call_of(pieces: list[ToolCallMessage], returns: dict[str, ToolReturnMessage]) -> ToolCall:
    first = pieces[0]
    text = "".join(piece.tool_call.arguments or "" for piece in pieces)
    call_id = first.tool_call.tool_call_id
    return ToolCall(
        name=next((piece.tool_call.name for piece in pieces if piece.tool_call.name), ""),
        arguments=parsed(text)[1] if text.strip() else {},
        arguments_text=text,
        tool_call_id=call_id,
        provider_executed=bool(first.provider_executed),
        choice_index=first.choice_index or 0,
        returned=None if call_id is None else returns.get(call_id),
    )
