"""One choice of one response: its deltas in, its messages out.

The theory. A response is a row of messages, numbered from 0. A message is open while pieces of it may
come. Of the messages made of plain text (content, native reasoning) at most one is open, and it closes
as soon as another message begins: text that comes later is a message of its own. Messages of tool calls,
and the inner thoughts in their arguments, stay open until the response ends, so that calls may
interleave; each keeps its own head.

    delta            message                                                closes open text
    Text             reasoning or assistant (`content_is_reasoning`)        of another kind
    Refusal          the same, and the response counts as refused           of another kind
    Reasoning        reasoning, source reasoner_model                       of another kind
    ReasoningSignature   on the open native reasoning, else a message of its own
    RedactedReasoning    hidden reasoning, a message each                   yes
    BlockBoundary    none                                                   yes
    ToolCallPiece    tool call, assistant, inner thoughts (tool_calls.py)   yes
    ToolReturn       tool return                                            yes

Inner thoughts go on with the reasoning message that plain content has just opened, since to a reader
both are the agent's monologue. Empty pieces are no pieces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.deltas import (
    Reasoning,
    ReasoningSignature,
    RedactedReasoning,
    Refusal,
    Text,
    ToolCallEnd,
    ToolCallPiece,
    ToolReturn,
)
from actors.interface.json_content import JsonContent, WrittenCall
from actors.interface.tool_calls import CallRegister, Out, ToolCall
from actors.messages import Emission, Fields, Head

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.deltas import Delta
    from actors.interface.interface import Interface
    from actors.settings import StreamSettings

REASONER = {"source": "reasoner_model"}
MONOLOGUE = {"source": "non_reasoner_model"}


class Choice:
    """The open messages of one choice. All methods append to a list of emissions."""

    __slots__ = (
        "_content",
        "_content_kind",
        "_interface",
        "_message_count",
        "_message_id",
        "_native",
        "_native_signed",
        "_register",
        "_text",
        "has_called_tools",
        "held_chars_max",
        "index",
        "settings",
    )

    def __init__(self, interface: Interface, message_id: str, index: int) -> None:
        self._interface = interface
        self._message_id = message_id
        self._message_count = 0
        self.index = index
        self.settings: StreamSettings = interface.settings
        self.held_chars_max = self.settings.buffer_bytes_max
        self._content_kind = "reasoning_message" if self.settings.content_is_reasoning else "assistant_message"
        self._content = JsonContent(self.held_chars_max) if self.settings.expect_reasoning_content else None
        self._text: Head | None = None  # the open message of plain content
        self._native: Head | None = None  # the open message of native reasoning
        self._native_signed: Head | None = None  # the last one, which a signature may still reach
        self._register = CallRegister(self)
        self.has_called_tools = False

    # --- deltas -----------------------------------------------------------------------------------

    def feed(self, delta: Delta, out: Out) -> None:  # noqa: C901  # a table, commonest first
        """Take one delta of this choice."""
        kind = delta.__class__
        if kind is Text:
            if self._text is not None and self._content is None and delta.text:  # type: ignore[union-attr]  # a Text
                out.append(Emission(self._text, delta.text))  # type: ignore[union-attr]  # a Text
            else:
                self._plain(delta.text, out)  # type: ignore[union-attr]  # a Text
        elif kind is ToolCallPiece:
            self._tool_call_piece(delta, out)  # type: ignore[arg-type]  # a ToolCallPiece
        elif kind is Reasoning:
            self._reasoning(delta.text, out)  # type: ignore[union-attr]  # a Reasoning
        elif isinstance(delta, Refusal):
            self._show_text(delta.text, out)
        elif isinstance(delta, ReasoningSignature):
            self._signature(delta.signature, out)
        elif isinstance(delta, RedactedReasoning):
            self._redacted(delta.data, out)
        elif isinstance(delta, ToolCallEnd):
            call = self._register.find_known(delta.id, delta.index)
            if call is not None:
                call.end(out)
        elif isinstance(delta, ToolReturn):
            self._tool_return(delta, out)
        else:  # BlockBoundary
            self._end_content(out)
            self._close_text()
            self._native_signed = None

    def end(self, out: Out) -> None:
        """Let out all that is held back: the response is over."""
        self._end_content(out)
        for call in self._register.calls:
            call.end(out)
        self._close_text()

    # --- text -------------------------------------------------------------------------------------

    def _plain(self, text: str, out: Out) -> None:
        if self._content is None:
            self._show_text(text, out)
        else:
            self._decided(self._content.feed(text), out)

    def _decided(self, decided: Iterable[str | WrittenCall], out: Out) -> None:
        for item in decided:
            if isinstance(item, str):
                self._show_text(item, out)
            else:
                call = self._register.add_whole()
                call.add(ToolCallPiece(name=item.name, arguments=item.arguments), out)
                call.end(out)

    def _end_content(self, out: Out) -> None:
        if self._content is not None:
            self._decided(self._content.end(), out)

    def _show_text(self, text: str, out: Out) -> None:
        if not text:
            return
        if self._text is None:
            self.settle(None, out)
            self._close_text()
            fields = MONOLOGUE if self._content_kind == "reasoning_message" else {}
            self._text = self.new_head(self._content_kind, fields)
        out.append(Emission(self._text, text))

    def _reasoning(self, text: str, out: Out) -> None:
        if not text:
            return
        if self._native is None:
            self.settle(None, out)
            self._close_text()
            self._native = self._native_signed = self.new_head("reasoning_message", REASONER)
        out.append(Emission(self._native, text))

    def _signature(self, signature: str, out: Out) -> None:
        if self._native_signed is None:
            self._close_text()
            self._native_signed = self.new_head("reasoning_message", REASONER)
        out.append(Emission(self._native_signed, None, {"signature": signature}))

    def _redacted(self, data: str | None, out: Out) -> None:
        self.settle(None, out)
        self._close_text()
        state = "omitted" if data is None else "redacted"
        out.append(Emission(self.new_head("hidden_reasoning_message", {"state": state}), data))

    def _close_text(self) -> None:
        self._text = self._native = None

    # --- tools ------------------------------------------------------------------------------------

    def _tool_call_piece(self, piece: ToolCallPiece, out: Out) -> None:
        call = self._register.find(piece)
        if call is None:
            self._interface.error_message(
                "malformed_chunk",
                "A piece of a tool call has neither an id nor an index nor a name, and no call is open: "
                f"{(piece.arguments or '')[:200]!r}. It is left out.",
                out,
            )
            return
        if self._content is not None:
            self._end_content(out)
        call.add(piece, out)
        self._register.make_room(out)

    def _tool_return(self, delta: ToolReturn, out: Out) -> None:
        call = self._register.find_known(delta.id, None)
        if call is not None:
            call.end(out)
        self.settle(None, out)
        self._close_text()
        fields: Fields = {"status": delta.status, "tool_call_id": delta.id, "stdout": None, "stderr": None}
        fields["provider_executed"] = True
        out.append(Emission(self.new_head("tool_return_message", fields), delta.text))

    # --- what calls ask for -----------------------------------------------------------------------

    def warn(self, name: str) -> None:
        """Count a named warning."""
        self._interface.warn(name)

    def settle(self, before: ToolCall | None, out: Out) -> None:
        """Let calls begin that wait for no more than a bit of their name or id, ahead of another message."""
        for call in tuple(self._register.unopened):
            if call is before:
                break
            if call.is_waiting:
                call.open_gates(out)

    def thoughts_head(self, call: ToolCall, out: Out) -> Head:
        """Return the head for the inner thoughts of a call that has shown none yet."""
        if self._text is not None and self._content_kind == "reasoning_message":
            head = self._text
        else:
            self.settle(call, out)
            head = self.new_head("reasoning_message", MONOLOGUE)
        self._close_text()
        return head

    def open_call_message(self, kind: str, fields: Fields, call: ToolCall) -> Head:
        """Return the head for a call's own message."""
        self._close_text()
        self._register.opened(call)
        if kind == "assistant_message":
            self._interface.note_assistant_call(call)
        elif not call.is_provider_executed:
            self.has_called_tools = True
        return self.new_head(kind, fields)

    def new_head(self, kind: str, fields: Fields) -> Head:
        """Return the head of this choice's next message."""
        head = self._interface.new_head(kind, self._message_id, self._message_count, fields, self.index)
        self._message_count += 1
        return head
