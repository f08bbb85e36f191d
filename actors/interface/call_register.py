"""The calls of one choice: tells which call a piece belongs to.

Theory. Providers reuse the index for another call, leave it out, send the empty id, repeat id and name on
every piece, send them in pieces, or make up a new id for every piece. So a call is found by the first of
these that the piece has:

    id       a call with this id
    index    the last call at this index
    neither  the call that the last piece belonged to

A piece with an id or name that is not known yet may be more about the call found, or the first piece of
another; `_is_another` decides.
"""

from __future__ import annotations

from actors.deltas import ToolCallPiece
from actors.interface.tool_calls import CallHost, ToolCall
from actors.messages import Out

_ALIKE_CHARS = 4
CALLS_MAX = 1024


class CallRegister:
    """The calls of one choice, found by id first, then by index, else the last one."""

    __slots__ = ("_by_id", "_by_index", "_choice", "_count", "_last", "calls", "unopened")

    def __init__(self, choice: CallHost) -> None:
        self._choice = choice
        self._by_id: dict[str, ToolCall] = {}
        self._by_index: dict[int, ToolCall] = {}
        self._last: ToolCall | None = None
        self._count = 0  # of all calls so far
        self.calls: list[ToolCall] = []
        self.unopened: dict[ToolCall, None] = {}  # those whose message has not begun, in order

    def find(self, piece: ToolCallPiece) -> ToolCall | None:
        """Return the call that a piece belongs to, a new one if need be; None for a piece of no call."""
        index, piece_id = piece.index, piece.id
        if piece_id is not None and piece.name is None:
            known = self._by_id.get(piece_id)
            if known is not None and known.id == piece_id:
                # Providers that give the id with every piece.
                self._last = known
                return known
        call = self._last if index is None else self._by_index.get(index)
        if piece_id is None and piece.name is None:
            # The common case: a piece of arguments.
            if call is None:
                return None if index is None else self._new(piece)
        else:
            call = self._named(piece, call)
            if call is None:
                return self._new(piece)
        self._last = call
        return call

    def _named(self, piece: ToolCallPiece, at_place: ToolCall | None) -> ToolCall | None:
        """Return the known call that a piece with an id or a name belongs to."""
        piece_id = piece.id
        call = None if piece_id is None else self._by_id.get(piece_id)
        if call is None:
            call = at_place
            if call is None or _is_another(call, piece):
                return None
        if piece_id is not None and call.id != piece_id:
            # The id, or another piece of it, comes now: `identify` will make it this.
            whole = piece_id if call.id is None or call.has_arguments else call.id + piece_id
            self._by_id[whole] = call
        return call

    def find_known(self, call_id: str | None, index: int | None) -> ToolCall | None:
        """Return a call by id, else by index; None if neither is known."""
        if call_id is not None and call_id in self._by_id:
            return self._by_id[call_id]
        return None if index is None else self._by_index.get(index)

    def add_whole(self) -> ToolCall:
        """Return a new call that no later piece can belong to."""
        call = ToolCall(self._choice, self._count)
        self._count += 1
        self.calls.append(call)
        self.unopened[call] = None
        return call

    def opened(self, call: ToolCall) -> None:
        """Note that a call's message has begun."""
        self.unopened.pop(call, None)

    def make_room(self, out: Out) -> None:
        """Close and forget the older half of the calls: there are more than a model ever makes in one response."""
        self._choice.warn("too_many_tool_calls")
        for call in self.calls[: CALLS_MAX // 2]:
            call.end(out)
            self.unopened.pop(call, None)
        del self.calls[: CALLS_MAX // 2]
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
    """Tell whether a piece with an id or name not known yet starts another call than the one at its place."""
    if piece.name is None:
        # Arguments under an id that changes with every piece (some servers make ids up), an id that
        # comes late, or one more piece of an id.
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
    # The same name again: repeated, or called again. Two objects in a row are two calls.
    return call.arguments_tail.rstrip().endswith("}") and (piece.arguments or "").lstrip().startswith("{")


def _look_alike(one: str, other: str) -> bool:
    return (len(one) == len(other) and len(one) >= _ALIKE_CHARS) or one[:_ALIKE_CHARS] == other[:_ALIKE_CHARS]
