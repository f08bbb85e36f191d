"""What a reader was given, held against an independent reading of what the provider sent.

The right answer comes from `router.demo.recorded_content`, which shares no code with the router: it reads a
recorded body by itself, all at once. How settings change what a reader sees is stated here once
more, in a few lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actors.settings import StreamSettings
from router.demo.recorded_content import Call, Content, differences, recorded

# A terminal that says the model ended by itself; every other one must have a cause in the provider.
_ENDS_OF_THE_MODEL = frozenset(
    {"end_turn", "tool_call", "max_tokens", "stop_sequence", "refusal", "content_filter", "pause_turn"}
)


@dataclass
class Assembly:
    """Takes a reader's messages as they come; keeps their content and order, not the messages."""

    last_seq: int = 0
    count: int = 0
    duplicated: int = 0
    reordered: int = 0
    dropped: int = 0
    stop_reason: str | None = None
    stands_for: frozenset[str] = frozenset()
    """The stop reasons that its reader's word may mean, where that is not one of ours."""
    terminals: int = 0
    may_have_others_calls: bool = False
    """Whether calls that the provider ran itself are among those that it was told, and not told apart."""
    _missing: set[int] = field(default_factory=set)
    _missing_beyond: int = 0
    _text: list[str] = field(default_factory=list)
    _reasoning: list[str] = field(default_factory=list)
    _calls: dict[str, list[list[str]]] = field(default_factory=dict)

    def feed(self, message: Mapping[str, Any]) -> None:
        """Take the next message, as a plain dict."""
        self._place(message["seq_id"])
        kind = message["message_type"]
        if kind == "assistant_message":
            self._text.append(message["content"])
        elif kind == "reasoning_message":
            self._reasoning.append(message["reasoning"])
        elif kind == "tool_call_message" and not message.get("provider_executed"):
            self.may_have_others_calls |= message.get("whose") == "unknown"
            piece = message["tool_call"]
            names, arguments = self._calls.setdefault(str(message.get("otid") or piece.get("tool_call_id")), [[], []])
            names.append(piece.get("name") or "")
            arguments.append(piece.get("arguments") or "")
        elif kind == "stop_reason":
            self.terminals += 1
            self.stop_reason = message["stop_reason"]
            self.stands_for = message.get("stands_for", frozenset())

    def _place(self, seq_id: int) -> None:
        self.count += 1
        if seq_id == self.last_seq + 1:
            self.last_seq = seq_id
        elif seq_id > self.last_seq:
            self._miss(self.last_seq + 1, seq_id - 1)
            self.last_seq = seq_id
        elif seq_id in self._missing:
            # Not lost, but after a later one.
            self._missing.discard(seq_id)
            self.reordered += 1
        else:
            self.duplicated += 1

    def _miss(self, first: int, last: int) -> None:
        kept = min(last, first + _MISSING_MAX - len(self._missing) - 1)
        self._missing.update(range(first, kept + 1))
        self._missing_beyond += last - max(kept, first - 1)

    def gap(self, first: int, last: int) -> None:
        """Take an explicit gap: the stream's own policy has dropped these."""
        self.dropped += last - first + 1
        self.last_seq = max(self.last_seq, last)

    @property
    def lost(self) -> int:
        """Messages before the last one that never came."""
        return len(self._missing) + self._missing_beyond

    def content(self) -> Content:
        """Return what the messages said, pieces joined."""
        calls = [Call("".join(names), "".join(arguments)) for names, arguments in self._calls.values()]
        return Content("".join(self._text), "".join(self._reasoning), calls)


_MISSING_MAX = 10_000


class Expectations:
    """The right answers, each worked out once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, bool], Content] = {}

    def of_recording(self, name: str, body: bytes, api: str, settings: StreamSettings) -> Content:
        """Return what a reader of this recording should get."""
        key = (name, settings.content_is_reasoning)
        if key not in self._known:
            self._known[key] = expected(body, api, settings)
        return self._known[key]


def expected(body: bytes, api: str, settings: StreamSettings) -> Content:
    """Return what a reader of this body should get under these settings."""
    said = recorded(body, api)
    if not settings.content_is_reasoning:
        return said
    # Plain content is reasoning here, in the order in which both came; refusals and calls stay.
    return Content("", _in_order(body, api), said.calls)


def _in_order(body: bytes, api: str) -> str:
    """Return text and reasoning as one, event by event."""
    parts = []
    for block in body.replace(b"\r\n", b"\n").split(b"\n\n"):
        try:
            said = recorded(block + b"\n\n", api)
        except (LookupError, ValueError):
            continue  # a piece of a tool call, whose beginning stands in another event
        parts.append(said.reasoning + said.text)
    return "".join(parts)


def as_body(chunks: Sequence[bytes]) -> bytes:
    """Return chunks as a body of server-sent events; what is not JSON (a keepalive, half an event) is left out."""
    return b"".join(b"data: " + chunk + b"\n\n" for chunk in chunks if chunk.lstrip().startswith(b"{"))


def can_verify(settings: StreamSettings) -> str | None:
    """Return why text under these settings cannot be checked; None where it can."""
    if settings.choices != "first":
        return "choices: all"
    if settings.expect_reasoning_content:
        return "expect_reasoning_content"
    if settings.use_assistant_message and settings.assistant_message_tool_name != "send_message":
        return "assistant_message_tool_name"
    return None


def faults_of_end(assembly: Assembly, stop_reason: str, *, provider_failed: bool) -> list[str]:
    """Return in words what is wrong with a reader's end. `stop_reason`: what the publisher was told."""
    found = []
    if assembly.terminals != 1:
        found.append(f"{assembly.terminals} terminals, expected exactly one")
    elif stop_reason not in (assembly.stands_for or {assembly.stop_reason}):
        found.append(f"the reader was told {assembly.stop_reason}, the publisher {stop_reason}")
    if provider_failed and stop_reason != "error":
        found.append(f"the provider failed, but the stop reason is {stop_reason}")
    if not provider_failed and stop_reason not in _ENDS_OF_THE_MODEL:
        found.append(f"the provider ended well, but the stop reason is {stop_reason}")
    return found


def content_faults(right: Content, assembly: Assembly) -> list[str]:
    """Return in words where a reader's text, reasoning and tool calls differ from what is right."""
    got = assembly.content()
    if assembly.may_have_others_calls and len(got.calls) > len(right.calls):
        got.calls = _those_of(right.calls, got.calls)
    return differences(right, got)


def _those_of(wanted: Sequence[Call], calls: Sequence[Call]) -> list[Call]:
    """Return the calls without those between that are none of the wanted ones, which come in their order."""
    found: list[Call] = []
    for call in calls:
        if len(found) < len(wanted) and not differences(Content(calls=[wanted[len(found)]]), Content(calls=[call])):
            found.append(call)
    return found
