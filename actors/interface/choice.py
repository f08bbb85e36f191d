"""One choice of one response: its deltas in, its messages out.

Theory. A response is a row of messages. A message is open while pieces of it may come. Of the messages
made of plain text (content, native reasoning) at most one is open. It closes when another message begins;
text that comes later is a message of its own. Messages of tool calls, and the inner thoughts in their
arguments, stay open until the response ends, so that calls may interleave; each keeps its own head.

    delta            message                                                closes open text
    Text             reasoning or assistant (`content_is_reasoning`)        of another kind
    Refusal          the same, and the response counts as refused           of another kind
    Reasoning        reasoning, source reasoner_model                       of another kind
    ReasoningSignature   on the last native reasoning that has none, else a message of its own
    RedactedReasoning    hidden reasoning, a message each                   yes
    BlockBoundary    none                                                   yes
    ToolCallPiece    tool call, assistant, inner thoughts (tool_calls.py)   yes
    ToolCallEnd      none; what the call holds leaves                       no
    ToolReturn       tool return                                            yes

Inner thoughts continue the reasoning message that plain content has just opened: to a reader, both are
the agent's monologue. An empty piece of text begins no message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from actors.deltas import (
    BlockBoundary,
    Delta,
    Reasoning,
    ReasoningSignature,
    RedactedReasoning,
    Refusal,
    Text,
    ToolCallEnd,
    ToolCallPiece,
    ToolReturn,
)
from actors.empty import EMPTY_LIST, own_list
from actors.interface.call_register import CALLS_MAX, CallRegister
from actors.interface.heads import NumberedHeads, derived_call_id
from actors.interface.json_content import Decided, JsonContent
from actors.interface.tool_calls import ToolCall
from actors.messages import Fields, Head, MessagePiece, Out, new_piece
from actors.settings import StreamSettings

REASONER = {"source": "reasoner_model"}
MONOLOGUE = {"source": "non_reasoner_model"}
_SHOWN_CHARS_MAX = 200


class Choice:
    """The open messages of one choice. All methods append to a list of pieces."""

    __slots__ = (
        "_assistant_calls",
        "_content",
        "_heads",
        "_native",
        "_native_signature",
        "_native_signed",
        "_register",
        "has_called_tools",
        "settings",
        "text_head",
    )

    def __init__(self, settings: StreamSettings, heads: NumberedHeads) -> None:
        self.settings: StreamSettings = settings
        self._heads = heads
        self._content = JsonContent(settings.buffer_bytes_max) if settings.expect_reasoning_content else None
        self.text_head: Head | None = None
        """The open message of plain content."""
        self._native: Head | None = None  # the open message of native reasoning
        self._native_signed: Head | None = None  # the last one, which a signature may still reach
        self._native_signature: str | None = None  # the signature that it bears
        self._register: CallRegister | None = None
        self._assistant_calls: list[ToolCall] = EMPTY_LIST
        self.has_called_tools: bool = False

    # --- deltas -----------------------------------------------------------------------------------

    def feed(self, delta: Delta, out: Out) -> None:
        """Take one delta of this choice."""
        # The two common cases skip the look-up: one more piece of the open message, or of a call.
        if delta.__class__ is Text and self.text_head is not None and self._content is None and delta.text:
            out.append(new_piece((self.text_head, delta.text, None)))
        elif delta.__class__ is ToolCallPiece:
            self._tool_call_piece(delta, out)
        else:
            self._ON[delta.__class__](self, delta, out)

    def end(self, out: Out) -> None:
        """Let out all that is held: the response is over."""
        self._end_content(out)
        if self._register is not None:
            for call in self._register.calls:
                call.end(out)
        self._close_text()

    def take_assistant_call_ids(self) -> list[str]:
        """Return (once) the ids of the calls shown as assistant messages. Ids may come late: ask at the end."""
        calls = self._assistant_calls
        if not calls:
            return []
        self._assistant_calls = EMPTY_LIST
        return [call.id for call in calls if call.id is not None]

    # --- text -------------------------------------------------------------------------------------

    def _plain(self, delta: Text, out: Out) -> None:
        if self._content is None:
            self._show_text(delta.text, out)
        else:
            self._decided(self._content.feed(delta.text), out)

    def _refusal(self, delta: Refusal, out: Out) -> None:
        self._show_text(delta.text, out)

    def _decided(self, decided: Decided, out: Out) -> None:
        for item in decided:
            if isinstance(item, str):
                self._show_text(item, out)
            else:
                call = self._calls().add_whole()
                call.add(ToolCallPiece(name=item.name, arguments=item.arguments), out)
                call.end(out)

    def _end_content(self, out: Out) -> None:
        if self._content is not None:
            self._decided(self._content.end(), out)

    def _show_text(self, text: str, out: Out) -> None:
        if not text:
            return
        if self.text_head is None:
            self.settle(None, out)
            self._close_text()
            if self.settings.content_is_reasoning:
                self.text_head = self._heads.next("reasoning_message", MONOLOGUE)
            else:
                self.text_head = self._heads.next("assistant_message", {})
        out.append(new_piece((self.text_head, text, None)))

    def _reasoning(self, delta: Reasoning, out: Out) -> None:
        if not delta.text:
            return
        if self._native is None:
            self.settle(None, out)
            self._close_text()
            self._native = self._native_signed = self._heads.next("reasoning_message", REASONER)
            self._native_signature = None
        out.append(new_piece((self._native, delta.text, None)))

    def _signature(self, delta: ReasoningSignature, out: Out) -> None:
        if delta.signature == self._native_signature:
            return
        if self._native_signed is None or self._native_signature is not None:
            # A message bears one signature, and each of them has to go back to the provider.
            self._close_text()
            self._native_signed = self._heads.next("reasoning_message", REASONER)
        self._native_signature = delta.signature
        out.append(MessagePiece(self._native_signed, None, {"signature": delta.signature}))

    def _redacted(self, delta: RedactedReasoning, out: Out) -> None:
        self.settle(None, out)
        self._close_text()
        state = "omitted" if delta.data is None else "redacted"
        out.append(MessagePiece(self._heads.next("hidden_reasoning_message", {"state": state}), delta.data))

    def _boundary(self, _delta: BlockBoundary, out: Out) -> None:
        self._end_content(out)
        self._close_text()
        self._native_signed = self._native_signature = None

    def _close_text(self) -> None:
        self.text_head = self._native = None

    # --- tools ------------------------------------------------------------------------------------

    def _calls(self) -> CallRegister:
        """Return the calls so far; most responses never have one."""
        if self._register is None:
            self._register = CallRegister(self)
        return self._register

    def _tool_call_piece(self, piece: ToolCallPiece, out: Out) -> None:
        register = self._register or self._calls()
        call = register.find(piece)
        if call is None:
            text = (
                "Expected a piece of a tool call with an id, an index or a name, got one without, and no call is "
                f"open: {(piece.arguments or '')[:_SHOWN_CHARS_MAX]!r}. The piece is left out."
            )
            out.append(self._heads.request.error_message("malformed_chunk", text))
            return
        if self._content is not None:
            self._end_content(out)
        call.add(piece, out)
        if len(register.calls) > CALLS_MAX:
            register.make_room(out)

    def _tool_call_end(self, delta: ToolCallEnd, out: Out) -> None:
        call = self._calls().find_known(delta.id, delta.index)
        if call is not None:
            call.end(out)

    def _tool_return(self, delta: ToolReturn, out: Out) -> None:
        call = self._calls().find_known(delta.id, None)
        if call is not None:
            call.end(out)
        self.settle(None, out)
        self._close_text()
        fields: Fields = {"status": delta.status, "tool_call_id": delta.id, "stdout": None, "stderr": None}
        fields["provider_executed"] = True
        out.append(MessagePiece(self._heads.next("tool_return_message", fields), delta.text))

    # By class of delta.
    _ON: ClassVar[dict[type, Callable[[Choice, Any, Out], None]]] = {
        Text: _plain,
        Refusal: _refusal,
        Reasoning: _reasoning,
        ReasoningSignature: _signature,
        RedactedReasoning: _redacted,
        BlockBoundary: _boundary,
        ToolCallPiece: _tool_call_piece,
        ToolCallEnd: _tool_call_end,
        ToolReturn: _tool_return,
    }

    # --- what calls ask for (`CallHost`) ------------------------------------------------------------

    def warn(self, name: str) -> None:
        """Count a named warning."""
        self._heads.request.warn(name)

    def settle(self, before: ToolCall | None, out: Out) -> None:
        """Begin the messages of calls that only wait for more of their name or id, ahead of another message."""
        register = self._register
        for call in () if register is None else tuple(register.unopened):
            if call is before:
                break
            if call.is_waiting:
                call.open_gates(out)

    def thoughts_head(self, call: ToolCall, out: Out) -> Head:
        """Return the head for the inner thoughts of a call that has shown none yet."""
        if self.text_head is not None and self.settings.content_is_reasoning:
            head = self.text_head
        else:
            self.settle(call, out)
            head = self._heads.next("reasoning_message", MONOLOGUE)
        self._close_text()
        return head

    def open_call_message(self, kind: str, fields: Fields, call: ToolCall) -> Head:
        """Return the head for a call's own message."""
        self._close_text()
        self._calls().opened(call)
        if kind == "assistant_message":
            self._assistant_calls = own_list(self._assistant_calls)
            self._assistant_calls.append(call)
        elif not call.is_provider_executed:
            self.has_called_tools = True
        return self._heads.next(kind, fields)

    def new_call_id(self, number: int) -> str:
        """Return an id for the `number`-th call of this choice, whose provider gives none."""
        return derived_call_id(self._heads.message_id, number)
