"""One tool call as it streams, and the register that tells whose piece a piece is.

The theory. A call comes in pieces of its name, its id and its arguments. It goes out as one message:
first a piece with the name (the id is in the head of all pieces), then pieces of the arguments. What
the interface must not do is to give out the name before it is whole, the id before it is known, or
either before the inner thoughts have passed. So a call is held at up to three gates:

    gate        open when
    name        arguments have begun (or the call, or the response, is over) and a name is known
    thoughts    inner thoughts are not looked for; or they have passed; or the arguments are over
    id          it is known (or another message begins, or the call or the response is over)

Inner thoughts themselves pass at once, as a reasoning message. Calls of the assistant's tool have no
id gate, since an assistant message bears no id. They have a fourth one instead:

    message     the assistant's message has been found in the arguments. If they close without one,
                the call goes out as any other tool call.

    NAMING --arguments--> READING --all gates open--> OPEN --end--> CLOSED
    READING --arguments are no JSON, nothing has gone out yet--> BROKEN --end--> CLOSED

In BROKEN the whole text is kept; at the end a lenient reader tries it, and what it cannot read goes
out as the call's arguments, as it came, with a warning. Where part of the arguments had gone out when
they broke, the rest follows as it came. Whatever is held is bounded: over the limit all gates open.

Calls that need none of this (no inner thoughts, not the assistant's tool) have no reader at all.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from actors.interface.inner_thoughts import ArgumentsReader, Part, Parts
from actors.interface.json_text import as_shown_text, read_leniently, to_json
from actors.messages import TOOL_CALL, Emission, Fields, Head

if TYPE_CHECKING:
    from actors.deltas import ToolCallPiece
    from actors.interface.choice import Choice

Out = list[Emission]

# What stands behind a message's arguments by mistake, most often a bracket too many; not shown to a user.
_JUNK = " \t\r\n}])\"'`;,"
_ALIKE_CHARS = 4
_CALLS_MAX = 1024


class _State(Enum):
    NAMING = 0
    READING = 1
    OPEN = 2
    BROKEN = 3
    CLOSED = 4


class ToolCall:
    """One call. `add` takes a piece, `end` closes it; both append to a list of emissions."""

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
    )

    def __init__(self, choice: Choice) -> None:
        self._choice = choice
        self.id: str | None = None
        self.name: str | None = None
        self.is_provider_executed = False
        self.has_arguments = False
        self.arguments_tail = ""  # the last fragment, to tell a call that is over from one that goes on
        self.head: Head | None = None
        self.shown_name: str | None = None
        self._state = _State.NAMING
        self._reader: ArgumentsReader | None = None
        self._arguments_are_over = False
        self._is_assistant = False
        self._thoughts_pending = False
        self._thoughts_head: Head | None = None
        self._message_found = False
        self._message_shown = False
        self._is_broken = False
        self._is_junk = True
        # What waits behind a gate; and the text as it came, until the first of it has gone out.
        self._has_shown = False
        self._held: Parts = []
        self._held_chars = 0
        self._kept: list[str] = []

    @property
    def is_closed(self) -> bool:
        """True: the provider said that the call is over, or the response is."""
        return self._state is _State.CLOSED

    @property
    def is_waiting(self) -> bool:
        """True: its message could begin now, but for more of the name, or for the id, that might come."""
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
        piece_id, name = piece.id, piece.name
        id_is_repeated = piece_id is not None and piece_id == self.id
        if piece_id is not None and not id_is_repeated:
            if self.id is None:
                self.id = piece_id
            elif not self.has_arguments:
                self.id += piece_id
            else:
                self._choice.warn("tool_call_id_changed")
        if name is None:
            return
        if self.name is None:
            self.name = name
        elif name == self.name and (self.has_arguments or id_is_repeated or piece.arguments):
            return
        elif not self.has_arguments:
            self.name += name
        elif not self.name.endswith(name):
            self._choice.warn("tool_name_changed")

    def add(self, piece: ToolCallPiece, out: Out) -> None:
        """Take one piece."""
        if piece.id is not None or piece.name is not None or piece.provider_executed:
            self.identify(piece)
        fragment = piece.arguments
        if self.head is not None and self._reader is None:
            # The common case: an open call whose arguments pass through.
            if fragment:
                self.arguments_tail = fragment
                out.append(Emission(self.head, fragment))
            elif self.name != self.shown_name:
                self._show_name(out)
            return
        if fragment:
            self.has_arguments = True
            self.arguments_tail = fragment
            if self._reader is None or not self._passes(self._reader.part_of(fragment), fragment, out):
                self._read(fragment, out)
        elif self._state is _State.READING and piece.id is not None:
            self._release(out)

    def _passes(self, part: Part | None, fragment: str, out: Out) -> bool:
        """Pass on a fragment from the middle of a string that is on show already: most of them are such."""
        if part is Part.MESSAGE:
            if not self._message_shown:
                return False
            out.append(Emission(self.head, fragment))  # type: ignore[arg-type]  # a message that is shown has a head
            return True
        if part is Part.ARGUMENTS:
            if self._state is not _State.OPEN or self._is_assistant or not self._has_shown:
                return False
            out.append(Emission(self.head, fragment))  # type: ignore[arg-type]  # an open call has a head
            return True
        if part is None or self._thoughts_head is None:
            return False
        if not self._has_shown:
            self._kept.append(fragment)
        out.append(Emission(self._thoughts_head, fragment))
        return True

    def _read(self, fragment: str, out: Out) -> None:
        if self._state is _State.CLOSED:
            self._choice.warn("arguments_after_end")
            if self.head is not None and not self._is_assistant:
                out.append(Emission(self.head, fragment))
            return
        if not self._has_shown:
            self._held_chars += len(fragment)
            if self._reader is not None or self._state is _State.NAMING:
                self._kept.append(fragment)
        if self._state is _State.BROKEN or (self._state is _State.NAMING and self.name is None):
            # What is no JSON waits for its end; arguments that come ahead of the name wait for that.
            if self._held_chars > self._choice.held_chars_max:
                self.end(out)
            return
        if self._state is _State.NAMING:
            self._begin()
            fragment = "".join(self._kept)
            self._kept = [] if self._reader is None else [fragment]
        self._read_parts(fragment, out)

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
        """Take one part of the arguments: thoughts pass at once, all else goes through the gates."""
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
        """Begin the call's message now: another one is about to begin, and messages keep their order."""
        self._release(out, is_forced=True)

    def _release(self, out: Out, *, is_forced: bool = False) -> None:
        """Open the message if every gate is open (or all are forced open), and let out what is held."""
        if self.head is None:
            is_over = is_forced or self._held_chars > self._choice.held_chars_max
            if self._is_assistant and not self._message_found:
                if not is_over and not self._arguments_are_over:
                    return
                # There is no message in it: an ordinary tool call after all.
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
            return
        fields: Fields = {"tool_call_id": self.id}
        if self.is_provider_executed:
            fields["provider_executed"] = True
        self.head = self._choice.open_call_message(TOOL_CALL, fields, self)
        self._show_name(out)

    # --- out --------------------------------------------------------------------------------------

    def _show_name(self, out: Out) -> None:
        self.shown_name = self.name
        if self.head is not None and self.name is not None:
            out.append(Emission(self.head, None, {"tool_name": self.name}))

    def _show_thoughts(self, text: str, out: Out) -> None:
        if self._thoughts_head is None:
            self._thoughts_head = self._choice.thoughts_head(self, out)
        out.append(Emission(self._thoughts_head, text))

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
                out.append(Emission(head, text))
            elif part is Part.MESSAGE_END and not self._message_shown:
                # An empty message is a message; its receipt will be skipped, so this is all a reader sees.
                self._message_shown = True
                out.append(Emission(head, ""))
            elif part is Part.AFTER:
                self._show_after(text, out)
        elif text and part is not Part.MESSAGE_END:
            out.append(Emission(head, text))

    def _show_after(self, text: str, out: Out) -> None:
        if self._is_junk:
            text = text.lstrip(_JUNK)
            if not text:
                return
            self._is_junk = False
            self._choice.warn("text_after_arguments")
        if self.head is not None:
            out.append(Emission(self.head, text))

    # --- the end ----------------------------------------------------------------------------------

    def end(self, out: Out) -> None:
        """Close the call: nothing more of it will come, so all gates open. Harmless when it is closed."""
        if self._state is _State.CLOSED:
            return
        state, self._state = self._state, _State.CLOSED
        if state is _State.NAMING:
            if self.name is None:
                self._choice.warn("tool_call_without_name")
                if not self._kept:
                    return  # an id alone: there is nothing to show
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
        """Pass on the rest of arguments that never closed."""
        if not self._is_broken:
            self._choice.warn("unterminated_arguments")
        rest = self._reader.rest() if self._reader is not None else ""
        if rest:
            self._held.append((Part.ARGUMENTS, rest))

    def _end_broken(self, out: Out) -> None:
        """Give the arguments that are no JSON to a lenient reader; else let them out as they came."""
        text = "".join(self._kept)
        settings = self._choice.settings
        value = read_leniently(text)
        rest = None
        if isinstance(value, dict):
            if settings.inner_thoughts_in_kwargs:
                thoughts = as_shown_text(value.pop(settings.inner_thoughts_kwarg, None))
                if thoughts and self._thoughts_head is None:
                    self._show_thoughts(thoughts, out)
            rest = to_json(value)
        if rest is None:
            self._choice.warn("unreadable_arguments")
            self._is_assistant = False
            self._held = [(Part.ARGUMENTS, text)]
        else:
            self._choice.warn("lenient_arguments")
            if self._is_assistant and settings.assistant_message_tool_kwarg in value:
                self._message_found = True
                message = as_shown_text(value[settings.assistant_message_tool_kwarg])
                self._held = [(Part.MESSAGE, message)] if message else []
                self._held.append((Part.MESSAGE_END, ""))
            else:
                self._held = [(Part.ARGUMENTS, rest)]
        self._release(out, is_forced=True)


class CallRegister:
    """The calls of one choice, found by id first, then by index, else the last one.

    Providers reuse the index for another call, leave it out, send the empty id, repeat id and name on
    every piece, or send them in pieces; `find` tells these apart.
    """

    __slots__ = ("_by_id", "_by_index", "_choice", "_last", "calls", "unopened")

    def __init__(self, choice: Choice) -> None:
        self._choice = choice
        self._by_id: dict[str, ToolCall] = {}
        self._by_index: dict[int, ToolCall] = {}
        self._last: ToolCall | None = None
        self.calls: list[ToolCall] = []
        self.unopened: dict[ToolCall, None] = {}  # those whose message has not begun, in order

    def find(self, piece: ToolCallPiece) -> ToolCall | None:
        """Return the call that a piece belongs to, a new one if need be; None for a piece of no call."""
        index = piece.index
        if piece.id is None and piece.name is None:
            # The common case: a piece of arguments.
            call = self._last if index is None else self._by_index.get(index)
            if call is not None:
                self._last = call
                return call
            return None if index is None else self._new(piece)
        if piece.id is not None and piece.id in self._by_id:
            call = self._by_id[piece.id]
        else:
            call = self._last if index is None else self._by_index.get(index)
            if call is None or _is_another(call, piece):
                return self._new(piece)
        self._last = call
        if piece.id is not None and call.id != piece.id:
            # The id, or another piece of it, comes now: `identify` will make it this.
            whole = piece.id if call.id is None or call.has_arguments else call.id + piece.id
            self._by_id[whole] = call
        return call

    def find_known(self, call_id: str | None, index: int | None) -> ToolCall | None:
        """Return a call by id, else by index; None if neither is known."""
        if call_id is not None and call_id in self._by_id:
            return self._by_id[call_id]
        return None if index is None else self._by_index.get(index)

    def add_whole(self) -> ToolCall:
        """Return a new call that no later piece can belong to."""
        call = ToolCall(self._choice)
        self.calls.append(call)
        self.unopened[call] = None
        return call

    def opened(self, call: ToolCall) -> None:
        """Take note that a call's message has begun."""
        self.unopened.pop(call, None)

    def make_room(self, out: Out) -> None:
        """Close and forget the older half of the calls when there are more than any model makes at once."""
        if len(self.calls) <= _CALLS_MAX:
            return
        self._choice.warn("too_many_tool_calls")
        for call in self.calls[: _CALLS_MAX // 2]:
            call.end(out)
            self.unopened.pop(call, None)
        del self.calls[: _CALLS_MAX // 2]
        kept = set(self.calls)
        self._by_id = {key: call for key, call in self._by_id.items() if call in kept}
        self._by_index = {key: call for key, call in self._by_index.items() if call in kept}

    def _new(self, piece: ToolCallPiece) -> ToolCall:
        call = self.add_whole()
        if piece.id is not None:
            self._by_id[piece.id] = call
        if piece.index is not None:
            self._by_index[piece.index] = call
        self._last = call
        return call


def _is_another(call: ToolCall, piece: ToolCallPiece) -> bool:
    """Tell whether a piece whose id is not known starts another call than the one its place points to."""
    if piece.name is None:
        # Arguments under an id that changes with every piece (seen in servers that make ids up), the
        # id that comes late, or one more piece of it.
        return False
    if call.is_closed:
        return True
    have_ids = piece.id is not None and call.id is not None
    if call.name is None or not call.has_arguments:
        # Another name for a call without arguments is one more piece of the name, unless its id looks
        # like the id of a call of its own.
        return have_ids and _look_alike(piece.id or "", call.id or "")
    if have_ids or piece.name != call.name:
        return True
    # The same name again: told again, or called again. Two objects in a row are two calls.
    return call.arguments_tail.rstrip().endswith("}") and (piece.arguments or "").lstrip().startswith("{")


def _look_alike(one: str, other: str) -> bool:
    return (len(one) == len(other) and len(one) >= _ALIKE_CHARS) or one[:_ALIKE_CHARS] == other[:_ALIKE_CHARS]
