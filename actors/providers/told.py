"""What a response has told so far, so that a repetition of the whole adds only what is missing.

Many servers tell a thing twice: piece by piece, and once more whole (`.done`, a last `chat.completion`, a whole
message after the stream). The whole is compared with the pieces by content; what is the same is not told again,
and what goes on after the pieces is. A whole that is another text altogether is not told either, since a reader
would get the answer twice; it is named, so that somebody learns of it.

What is kept is bounded (`CHARS_MAX` a text). Of a text beyond it, a repetition counts as told.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from msgspec.structs import replace

from actors.deltas import (
    Delta,
    Reasoning,
    ReasoningSignature,
    RedactedReasoning,
    Refusal,
    Text,
    ToolCallEnd,
    ToolCallPiece,
    ToolReturn,
    Unknown,
)
from actors.empty import EMPTY_DICT, EMPTY_LIST, EMPTY_SET, own_dict, own_list, own_set

CHARS_MAX = 1024 * 1024
PIECES_MAX = 512
CALLS_MAX = 256
DIFFERS = "whole message that differs from its pieces"
_COMPARED = (Text, Reasoning, Refusal, ToolCallPiece, ToolReturn, ToolCallEnd)


class Told:
    """One text, as its pieces told it. Who appends to `pieces` by itself calls `compact` now and then."""

    __slots__ = ("is_cut", "pieces")

    def __init__(self) -> None:
        self.pieces: list[str] = EMPTY_LIST
        self.is_cut: bool = False

    @property
    def is_empty(self) -> bool:
        """True: nothing was told."""
        return not self.pieces and not self.is_cut

    def add(self, text: str) -> None:
        """Take note of one more piece."""
        if self.pieces is EMPTY_LIST:
            self.pieces = [text]
            return
        self.pieces.append(text)
        if len(self.pieces) > PIECES_MAX:
            self.compact()

    def compact(self) -> None:
        """Join the pieces; forget them where they have become too long."""
        text = "".join(self.pieces)
        self.is_cut = self.is_cut or len(text) > CHARS_MAX
        # In place: who appends holds the list.
        self.pieces = own_list(self.pieces)
        self.pieces[:] = [] if self.is_cut else [text]

    @property
    def text(self) -> str:
        """What was told."""
        if len(self.pieces) > 1:
            self.compact()
        return self.pieces[0] if self.pieces else ""

    def rest_of(self, whole: str, start: int = 0) -> str | None:
        """Return what a whole has beyond what was told from `start` on; None where it is another text."""
        told = self.text[start:]
        if self.is_cut:
            return ""
        if whole.startswith(told):
            return whole[len(told) :]
        # Servers trim the space around the whole, never that of the pieces.
        bare, bare_told = whole.strip(), told.strip()
        if bare_told.startswith(bare):
            return "" if bare else None
        if bare.startswith(bare_told):
            return whole[whole.index(bare_told) + len(bare_told) :]
        return None


class ToldCall(Told):
    """A tool call as it was told: its pieces are those of its arguments."""

    __slots__ = ("id", "index", "name")

    def __init__(self, index: int | None, call_id: str | None, name: str | None) -> None:
        self.pieces: list[str] = []
        self.is_cut = False
        self.index: int | None = index
        self.id: str | None = call_id
        self.name: str | None = name

    def rest_of(self, whole: str, start: int = 0) -> str | None:
        """Return what whole arguments have beyond those told; None where they are others. JSON counts as a value."""
        rest = super().rest_of(whole, start)
        return "" if rest is None and same_json(self.text, whole) else rest


class Said:
    """What one choice of a response has said."""

    __slots__ = ("_by_id", "_last", "_reasoning", "_refusal", "by_index", "calls", "signatures", "text")

    def __init__(self) -> None:
        self.text: Told = Told()
        self._reasoning: Told | None = None
        self._refusal: Told | None = None
        self.signatures: set[str | None] = EMPTY_SET
        self.calls: list[ToldCall] = EMPTY_LIST
        self._by_id: dict[str, ToldCall] = EMPTY_DICT
        self.by_index: dict[int, ToldCall] = EMPTY_DICT
        self._last: ToldCall | None = None

    @property
    def is_empty(self) -> bool:
        """True: nothing has been said."""
        has_text = any(told is not None and not told.is_empty for told in (self.text, self._reasoning, self._refusal))
        return not (has_text or self.calls or self.signatures)

    @property
    def reasoning(self) -> Told:
        """What it has reasoned. Most do not, so it is made when it is first asked for."""
        if self._reasoning is None:
            self._reasoning = Told()
        return self._reasoning

    @property
    def refusal(self) -> Told:
        """What it has said in refusing."""
        if self._refusal is None:
            self._refusal = Told()
        return self._refusal

    def sign(self, signature: str | None) -> None:
        """Take note of a signature, or of redacted reasoning."""
        self.signatures = own_set(self.signatures)
        self.signatures.add(signature)

    def call(self, piece: ToolCallPiece) -> ToldCall | None:
        """Take note of a piece of a call, and return the call; None where there are too many."""
        call_id, index = piece.id, piece.index
        if call_id is None and piece.name is None:
            call = self._last if index is None else self.by_index.get(index)
        else:
            call = self._by_id.get(call_id) if call_id is not None else None
            if call is None and index is not None and call_id is None:
                call = self.by_index.get(index)
                if call is not None and call.pieces and piece.name is not None:
                    call = None
        if call is None:
            call = self.begin(index, call_id, piece.name)
        self._last = call
        if piece.arguments and call is not None:
            call.add(piece.arguments)
        return call

    def begin(self, index: int | None, call_id: str | None, name: str | None) -> ToldCall | None:
        """Take note that a call begins, and return it; None where there are too many."""
        if len(self.calls) == CALLS_MAX:
            return None
        call = ToldCall(index, call_id, name)
        self.calls = own_list(self.calls)
        self.calls.append(call)
        if call_id is not None:
            self._by_id = own_dict(self._by_id)
            self._by_id[call_id] = call
        if index is not None:
            self.by_index = own_dict(self.by_index)
            self.by_index[index] = call
        return call

    def knows(self, call_id: str) -> bool:
        """Tell whether a call of this id was told."""
        return call_id in self._by_id

    def take(self, deltas: Iterable[Delta]) -> None:
        """Take note of deltas of this choice."""
        for delta in deltas:
            if isinstance(delta, Text):
                self.text.add(delta.text)
            elif isinstance(delta, Reasoning):
                self.reasoning.add(delta.text)
            elif isinstance(delta, Refusal):
                self.refusal.add(delta.text)
            elif isinstance(delta, ReasoningSignature):
                self.sign(delta.signature)
            elif isinstance(delta, RedactedReasoning):
                self.sign(delta.data)
            elif isinstance(delta, ToolCallPiece):
                self.call(delta)

    def missing(self, whole: Iterable[Delta]) -> list[Delta]:
        """Return those of a whole message's deltas, or parts of them, that were not told yet; they count as told."""
        deltas = list(whole)
        out: list[Delta] = []
        for make, told in ((Reasoning, self.reasoning), (Text, self.text), (Refusal, self.refusal)):
            pieces = [delta for delta in deltas if isinstance(delta, make)]
            if pieces:
                self._missing_text("".join(piece.text for piece in pieces), make, told, pieces[0].choice, out)
        for place, call in enumerate(_whole_calls(deltas)):
            self._missing_call(call, place, out)
        out += [delta for delta in deltas if not isinstance(delta, _COMPARED) and not self._is_signed(delta)]
        return out

    def _is_signed(self, delta: Delta) -> bool:
        if isinstance(delta, ReasoningSignature):
            return delta.signature in self.signatures
        return isinstance(delta, RedactedReasoning) and delta.data in self.signatures

    def _missing_text(
        self, whole: str, make: type[Text | Reasoning | Refusal], told: Told, choice: int, out: list[Delta]
    ) -> None:
        rest = told.rest_of(whole)
        if rest is None:
            out.append(Unknown(DIFFERS))
        elif rest:
            told.add(rest)
            out.append(make(rest, choice))

    def _missing_call(self, piece: ToolCallPiece, place: int, out: list[Delta]) -> None:
        known = self._by_id.get(piece.id) if piece.id is not None else None
        if known is None and place < len(self.calls):
            # Without an id that both have, the place in the row tells; another name there is another call. Where
            # the ids differ it is the same call if nothing else does: some servers make them up anew.
            there = self.calls[place]
            is_unlike = piece.id is not None and there.id is not None and there.rest_of(piece.arguments or "") != ""
            if not is_unlike and piece.name in (None, there.name):
                known = there
        if known is None:
            self.call(piece)
            out.append(piece)
            return
        rest = known.rest_of(piece.arguments or "")
        if rest is None:
            out.append(Unknown(DIFFERS))
        elif rest:
            known.add(rest)
            out.append(ToolCallPiece(known.index, known.id, None, rest, piece.choice, piece.provider_executed))


def _whole_calls(deltas: Iterable[Delta]) -> list[ToolCallPiece]:
    """Return the calls among deltas, each in one piece."""
    calls: list[ToolCallPiece] = []
    for delta in deltas:
        if not isinstance(delta, ToolCallPiece):
            continue
        if calls and delta.name is None and (delta.id, delta.index) == (calls[-1].id, calls[-1].index):
            calls[-1] = replace(calls[-1], arguments=(calls[-1].arguments or "") + (delta.arguments or ""))
        else:
            calls.append(delta)
    return calls


def same_json(one: str, other: str) -> bool:
    """Tell whether two texts are the same JSON value, however they are spaced."""
    try:
        return bool(json.loads(one) == json.loads(other))
    except (ValueError, RecursionError):
        return False
