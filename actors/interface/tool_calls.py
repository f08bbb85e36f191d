"""One tool call as it streams.

Theory. A call arrives in pieces of its name, its id and its arguments. It leaves as one message: first a
piece with the name (the id is in the head of all pieces), then pieces of the arguments. The name must not
leave before it is whole, nor the id before it is known, nor either before the inner thoughts. So a call
waits at up to three gates:

    gate        open when
    name        a name is known, and arguments have begun (or the call, or the response, is over)
    thoughts    inner thoughts are not looked for; or they have passed; or the arguments are over
    id          it is known (or another message begins, or the call or the response is over)

Inner thoughts pass at once, as a reasoning message. A call of the assistant's tool becomes an assistant
message, which bears no id: it has no id gate. It has a fourth gate instead:

    message     the assistant's message has been found in the arguments. If they close without one,
                the call leaves as any other tool call.

    NAMING --arguments--> READING --all gates open--> OPEN --end--> CLOSED
    READING --arguments are no JSON, nothing has left yet--> BROKEN --end--> CLOSED

In BROKEN the whole text is kept; at the end a lenient reader tries it. Text that this reader cannot read
leaves as the call's arguments, unchanged, with a warning. If part of the arguments has left when they
break, the rest follows unchanged. What is held is bounded: over the limit all gates open.

A call that needs none of this (no inner thoughts, not the assistant's tool) has no arguments reader.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Protocol

from actors.deltas import ToolCallPiece
from actors.interface.inner_thoughts import ArgumentsReader, Part, Parts, message_parts
from actors.interface.json_text import as_shown_text, read_leniently, to_json
from actors.messages import TOOL_CALL, Fields, Head, MessagePiece, Out, new_piece
from actors.settings import StreamSettings

# Characters that follow a message's arguments by mistake, most often a bracket too many; not shown to a user.
_JUNK = " \t\r\n}])\"'`;,"


class _State(Enum):
    NAMING = 0
    READING = 1
    OPEN = 2
    BROKEN = 3
    CLOSED = 4


# To look a member up costs more than the rest of what is done to most pieces.
_OPEN, _MESSAGE, _ARGUMENTS = _State.OPEN, Part.MESSAGE, Part.ARGUMENTS


class CallHost(Protocol):
    """What a call asks of the choice that it belongs to: to begin a message concerns the other messages too."""

    settings: StreamSettings

    def warn(self, name: str) -> None:
        """Count a named warning."""

    def settle(self, before: ToolCall, out: Out) -> None:
        """Begin the messages of earlier calls that only wait for more of their name or id."""

    def thoughts_head(self, call: ToolCall, out: Out) -> Head:
        """Return the head for the inner thoughts of a call that has shown none yet."""

    def open_call_message(self, kind: str, fields: Fields, call: ToolCall) -> Head:
        """Return the head for a call's own message."""

    def new_call_id(self, number: int) -> str:
        """Return an id for the `number`-th call, whose provider gives none."""


class ToolCall:
    """One call. `add` takes a piece, `end` closes it; both append to a list of pieces."""

    __slots__ = (
        "_arguments_are_over",
        "_choice",
        "_has_shown",
        "_held",
        "_held_chars",
        "_is_assistant",
        "_is_broken",
        "_is_junk",
        "_kept",
        "_message_found",
        "_message_shown",
        "_number",
        "_reader",
        "_state",
        "_thoughts_head",
        "_thoughts_pending",
        "arguments_tail",
        "has_arguments",
        "head",
        "id",
        "is_provider_executed",
        "name",
        "shown_name",
        "signature",
    )

    def __init__(self, choice: CallHost, number: int) -> None:
        self._choice = choice
        self._number = number  # among the calls of its choice, from 0
        self.id: str | None = None
        self.signature: str | None = None  # what the provider wants back with this call
        self.name: str | None = None
        self.is_provider_executed: bool = False
        self.has_arguments: bool = False
        self.arguments_tail: str = ""  # the last fragment; tells a complete call from one that goes on
        self.head: Head | None = None
        self.shown_name: str | None = None
        self._state = _State.NAMING
        self._reader: ArgumentsReader | None = None
        self._thoughts_head: Head | None = None
        self._is_assistant = self._thoughts_pending = self._arguments_are_over = False
        self._message_found = self._message_shown = self._is_broken = False
        self._is_junk = True
        # The parts that wait at a gate; and the text as it came, until the first of it has left.
        self._has_shown = False
        self._held: Parts = []
        self._held_chars = 0
        self._kept: list[str] = []

    @property
    def is_closed(self) -> bool:
        """True: the provider said that the call is over, or the response is over."""
        return self._state is _State.CLOSED

    @property
    def is_waiting(self) -> bool:
        """True: its message could begin now; it only waits for more of the name, or for the id."""
        if self.head is not None or self.name is None:
            return False
        settings = self._choice.settings
        if self._state is _State.NAMING:
            is_assistant = settings.use_assistant_message and self.name == settings.assistant_message_tool_name
            return not settings.inner_thoughts_in_kwargs and not is_assistant
        return self._state is _State.READING and not self._thoughts_pending and not self._is_assistant

    # --- in ---------------------------------------------------------------------------------------

    def identify(self, piece: ToolCallPiece) -> None:
        """Take name and id from a piece: whole, repeated, or in pieces."""
        if piece.provider_executed:
            self.is_provider_executed = True
        if piece.needs_id and self.id is None:
            self.id = self._choice.new_call_id(self._number)
        piece_id, name = piece.id, piece.name
        id_is_repeated = piece_id is not None and piece_id == self.id
        if piece_id is not None and not id_is_repeated:
            if self.id is None:
                self.id = piece_id
            elif not self.has_arguments:
                self.id += piece_id
            else:
                self._choice.warn("tool_call_id_changed")
        if name is not None:
            is_repeated = name == self.name and (self.has_arguments or id_is_repeated or bool(piece.arguments))
            self._take_name(name, is_repeated=is_repeated)

    def _take_name(self, name: str, *, is_repeated: bool) -> None:
        if self.name is None:
            self.name = name
        elif is_repeated:
            return
        elif not self.has_arguments:
            self.name += name
        elif not self.name.endswith(name):
            self._choice.warn("tool_name_changed")

    def add(self, piece: ToolCallPiece, out: Out) -> None:
        """Take one piece."""
        piece_id = piece.id
        if piece.name is not None or (piece_id is not None and piece_id != self.id) or piece.provider_executed:
            self.identify(piece)
        fragment = piece.arguments
        if piece.signature is not None:
            self._sign(piece.signature, out)
        reader = self._reader
        if reader is None and self.head is not None:
            # The common case: an open call without a reader.
            if fragment:
                self.arguments_tail = fragment
                out.append(new_piece((self.head, fragment, None)))
            elif self.name != self.shown_name:
                self._show_name(out)
            return
        if fragment:
            self.has_arguments = True
            self.arguments_tail = fragment
            if reader is None or not self._passes(reader.part_of(fragment), fragment, out):
                self._read(fragment, out)
        elif self._state is _State.READING and piece_id is not None:
            self._release(out)

    def _passes(self, part: Part | None, fragment: str, out: Out) -> bool:
        """Pass on a fragment from inside a string that is being shown: most fragments are. False: it must be read."""
        head = self.head
        if part is _MESSAGE:
            is_shown = self._message_shown
        elif part is _ARGUMENTS:
            is_shown = self._has_shown and self._state is _OPEN and not self._is_assistant
        else:
            head = self._thoughts_head
            is_shown = part is not None
        if head is None or not is_shown:
            return False
        if not self._has_shown:
            self._kept.append(fragment)
        out.append(new_piece((head, fragment, None)))
        return True

    def _read(self, fragment: str, out: Out) -> None:
        state = self._state
        if state is _State.CLOSED:
            self._add_after_end(fragment, out)
            return
        if not self._has_shown:
            self._held_chars += len(fragment)
            if self._reader is not None or state is _State.NAMING:
                self._kept.append(fragment)
        if state is _State.BROKEN or (state is _State.NAMING and self.name is None):
            # Text that is not JSON waits for its end; arguments that come before the name wait for the name.
            if self._held_chars > self._choice.settings.buffer_bytes_max:
                self.end(out)
            return
        if state is _State.NAMING:
            self._begin()
            fragment = "".join(self._kept)
            self._kept = [] if self._reader is None else [fragment]
        self._read_parts(fragment, out)

    def _add_after_end(self, fragment: str, out: Out) -> None:
        self._choice.warn("arguments_after_end")
        if self.head is not None and not self._is_assistant:
            out.append(MessagePiece(self.head, fragment))

    def _read_parts(self, fragment: str, out: Out) -> None:
        if self._reader is None:
            self._held.append((Part.ARGUMENTS, fragment))
            self._release(out)
            return
        for part, text in self._reader.feed(fragment):
            self._take(part, text, out)
        if self._reader.is_done:
            self._arguments_are_over = True
            self._thoughts_pending = False
        if self._state is _State.READING:
            self._release(out)

    def _begin(self) -> None:
        settings = self._choice.settings
        self._state = _State.READING
        if self.is_provider_executed:
            return
        self._is_assistant = settings.use_assistant_message and self.name == settings.assistant_message_tool_name
        self._thoughts_pending = settings.inner_thoughts_in_kwargs
        if self._is_assistant or self._thoughts_pending:
            self._reader = ArgumentsReader(
                settings.inner_thoughts_kwarg if self._thoughts_pending else None,
                settings.assistant_message_tool_kwarg if self._is_assistant else None,
            )

    # --- parts ------------------------------------------------------------------------------------

    def _take(self, part: Part, text: str, out: Out) -> None:
        """Take one part of the arguments: thoughts pass at once, all other parts wait at the gates."""
        if part is Part.THOUGHTS:
            self._show_thoughts(text, out)
        elif part is Part.THOUGHTS_END:
            self._thoughts_pending = False
            if self._state is _State.READING:
                self._release(out)
        elif part is Part.BROKEN:
            self._break(text, out)
        elif self._state is _State.OPEN:
            self._show(part, text, out)
        elif part is Part.AFTER and self._is_assistant and not self._message_found:
            self._held.append((Part.ARGUMENTS, text))
        else:
            self._held.append((part, text))
            self._message_found = self._message_found or part is Part.MESSAGE_END or part is Part.MESSAGE

    def _break(self, text: str, out: Out) -> None:
        if not self._has_shown and not self._message_found:
            self._state = _State.BROKEN
            self._held = []
            return
        if not self._is_broken:
            self._is_broken = True
            self._choice.warn("invalid_arguments")
        self._thoughts_pending = False
        self._held.append((Part.ARGUMENTS, text))
        self._release(out)

    def open_gates(self, out: Out) -> None:
        """Begin the call's message now: another message is about to begin, and messages keep their order."""
        self._release(out, is_forced=True)

    def _release(self, out: Out, *, is_forced: bool = False) -> None:
        """Begin the message if every gate is open (or all are forced open), and let out what is held."""
        if self.head is None:
            is_over = is_forced or self._held_chars > self._choice.settings.buffer_bytes_max
            if self._is_assistant and not self._message_found:
                if not is_over and not self._arguments_are_over:
                    return
                # The arguments have no message: this is an ordinary tool call.
                self._is_assistant = False
                self._choice.warn("no_message_in_assistant_call")
            if not is_over and (self._thoughts_pending or (self.id is None and not self._is_assistant)):
                return
            self._open(out)
        held, self._held = self._held, []
        for part, text in held:
            self._show(part, text, out)

    def _open(self, out: Out) -> None:
        self._choice.settle(self, out)
        if self._state is not _State.CLOSED:
            self._state = _State.OPEN
        if self._is_assistant:
            self.head = self._choice.open_call_message("assistant_message", {}, self)
            if self.signature is not None:
                out.append(MessagePiece(self.head, None, {"signature": self.signature}))
            return
        if self.id is None and self._choice.settings.dialect != "letta":
            # Without an id, readers merge parallel calls. (The reference shows such a call without one.)
            self.id = self._choice.new_call_id(self._number)
        fields: Fields = {"tool_call_id": self.id}
        if self.is_provider_executed:
            fields["provider_executed"] = True
        self.head = self._choice.open_call_message(TOOL_CALL, fields, self)
        self._show_name(out)

    # --- out --------------------------------------------------------------------------------------

    def _show_name(self, out: Out) -> None:
        self.shown_name = self.name
        if self.head is not None and self.name is not None:
            extra = {"tool_name": self.name}
            if self.signature is not None:
                extra["signature"] = self.signature
            out.append(MessagePiece(self.head, None, extra))

    def _sign(self, signature: str, out: Out) -> None:
        """Take a signature: it leaves with the name, or at once where the message has begun."""
        if signature != self.signature:
            self.signature = signature
            if self.head is not None:
                out.append(MessagePiece(self.head, None, {"signature": signature}))

    def _show_thoughts(self, text: str, out: Out) -> None:
        if self._thoughts_head is None:
            self._thoughts_head = self._choice.thoughts_head(self, out)
        out.append(new_piece((self._thoughts_head, text, None)))

    def _show(self, part: Part, text: str, out: Out) -> None:
        head = self.head
        if head is None:
            return
        if not self._has_shown and (part is not Part.ARGUMENTS or not self._is_assistant):
            self._has_shown = True
            self._kept = []
        if self._is_assistant:
            if part is Part.MESSAGE:
                self._message_shown = True
                out.append(new_piece((head, text, None)))
            elif part is Part.MESSAGE_END and not self._message_shown:
                # An empty message is a message. Its receipt is left out, so this is all that a reader sees.
                self._message_shown = True
                out.append(MessagePiece(head, ""))
            elif part is Part.AFTER:
                self._show_after(text, out)
        elif text and part is not Part.MESSAGE_END:
            out.append(new_piece((head, text, None)))

    def _show_after(self, text: str, out: Out) -> None:
        if self._is_junk:
            text = text.lstrip(_JUNK)
            if not text:
                return
            self._is_junk = False
            self._choice.warn("text_after_arguments")
        if self.head is not None:
            out.append(MessagePiece(self.head, text))

    # --- the end ----------------------------------------------------------------------------------

    def end(self, out: Out) -> None:
        """Close the call: no more of it will come, so all gates open. Does nothing if it is closed."""
        if self._state is _State.CLOSED:
            return
        state, self._state = self._state, _State.CLOSED
        if state is _State.NAMING:
            if self.name is None:
                self._choice.warn("tool_call_without_name")
                if not self._kept:
                    return  # an id without arguments: there is nothing to show
                self._held = [(Part.ARGUMENTS, "".join(self._kept))]
            self._release(out, is_forced=True)
            return
        if state is _State.BROKEN:
            self._end_broken(out)
            return
        if self._reader is not None and not self._reader.is_done:
            self._end_unfinished()
        self._release(out, is_forced=True)

    def _end_unfinished(self) -> None:
        """Hold the rest of arguments that never closed, to be let out."""
        if not self._is_broken:
            self._choice.warn("unterminated_arguments")
        rest = self._reader.rest() if self._reader is not None else ""
        if rest:
            self._held.append((Part.ARGUMENTS, rest))

    def _end_broken(self, out: Out) -> None:
        """Give the arguments that are not JSON to a lenient reader; else let them out unchanged."""
        text = "".join(self._kept)
        value = read_leniently(text)
        rest = None
        if isinstance(value, dict):
            self._take_thoughts(value, out)
            rest = to_json(value)
        if rest is None:
            self._choice.warn("unreadable_arguments")
            self._is_assistant = False
            self._held = [(Part.ARGUMENTS, text)]
        else:
            self._choice.warn("lenient_arguments")
            key = self._choice.settings.assistant_message_tool_kwarg
            is_message = self._is_assistant and key in value
            self._message_found = self._message_found or is_message
            self._held = message_parts(value[key]) if is_message else [(Part.ARGUMENTS, rest)]
        self._release(out, is_forced=True)

    def _take_thoughts(self, arguments: dict[str, Any], out: Out) -> None:
        """Remove the inner thoughts from arguments, and show them if none have been shown."""
        settings = self._choice.settings
        if settings.inner_thoughts_in_kwargs:
            thoughts = as_shown_text(arguments.pop(settings.inner_thoughts_kwarg, None))
            if thoughts and self._thoughts_head is None:
                self._show_thoughts(thoughts, out)
