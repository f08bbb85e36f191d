"""Whose piece a piece is: calls told apart by id, index and name, however a provider sends these."""

from __future__ import annotations

import pytest

from actors.deltas import Delta, ToolCallEnd, ToolCallPiece
from actors.interface.call_register import CallRegister
from actors.interface.choice import Choice
from actors.interface.heads import Heads, NumberedHeads
from actors.settings import StreamSettings
from tests.actors.interface.running import MESSAGE_ID, Piece, calls, run
from tests.assemble import assembled


def args(index: int | None, text: str) -> ToolCallPiece:
    return Piece(index, None, None, text)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        # Whole.
        ([Piece(0, "c1", "f", '{"a":1}')], [("f", "c1", '{"a":1}')]),
        # Names and ids in pieces, also of equal halves, also one character at a time.
        ([Piece(0, "c1", "se"), Piece(0, None, "arch"), args(0, "{}")], [("search", "c1", "{}")]),
        ([Piece(0, "c1", "bye"), Piece(0, None, "bye"), args(0, "{}")], [("byebye", "c1", "{}")]),
        ([Piece(0, "call", "f"), Piece(0, "_1"), args(0, "{}")], [("f", "call_1", "{}")]),
        ([Piece(0, c, None) for c in "call_1"] + [Piece(0, None, c) for c in "roll"], [("roll", "call_1", "")]),
        # Told again on every piece.
        ([Piece(0, "c1", "f", "{"), Piece(0, "c1", "f", "}"), Piece(0, "c1", "f", " ")], [("f", "c1", "{} ")]),
        ([Piece(0, "c1", "f", "{"), Piece(0, None, "f", "}")], [("f", "c1", "{}")]),
        ([Piece(0, "c1", "f"), Piece(0, "c1", "f"), Piece(0, "c1", "f", "{}")], [("f", "c1", "{}")]),
        # The id, or the name, comes late.
        ([Piece(0, None, "f", '{"a"'), args(0, ":1"), Piece(0, "c1", None, "}")], [("f", "c1", '{"a":1}')]),
        ([Piece(0, "c1", None, '{"a"'), Piece(0, None, "f", ":1}")], [("f", "c1", '{"a":1}')]),
        # It never comes.
        ([Piece(0, None, "f", "{}")], [("f", None, "{}")]),
        ([Piece(0, "c1", None, "{}")], [(None, "c1", "{}")]),
        # No arguments at all.
        ([Piece(0, "c1", "f")], [("f", "c1", "")]),
        # Parallel, one after the other and interleaved.
        ([Piece(0, "c1", "f", "{}"), Piece(1, "c2", "g", "{}")], [("f", "c1", "{}"), ("g", "c2", "{}")]),
        (
            [Piece(0, "c1", "f"), Piece(1, "c2", "g"), args(1, "[2"), args(0, "[1"), args(1, "]")],
            [("f", "c1", "[1"), ("g", "c2", "[2]")],
        ),
        # A call without arguments keeps its place.
        ([Piece(0, "c1", "f"), Piece(1, "c2", "g", "{}")], [("f", "c1", ""), ("g", "c2", "{}")]),
        # The index is used again, or there is none.
        ([Piece(0, "c1", "f", "{}"), Piece(0, "c2", "f", "{}")], [("f", "c1", "{}"), ("f", "c2", "{}")]),
        ([Piece(0, "abcdef", "f"), Piece(0, "uvwxyz", "g")], [("f", "abcdef", ""), ("g", "uvwxyz", "")]),
        ([Piece(0, None, "f", "{1}"), Piece(0, None, "f", "{2}")], [("f", None, "{1}"), ("f", None, "{2}")]),
        ([Piece(0, None, "f", "{}"), Piece(0, None, "g", "{}")], [("f", None, "{}"), ("g", None, "{}")]),
        ([Piece(None, "c1", "f", "{"), args(None, "}")], [("f", "c1", "{}")]),
        ([Piece(None, "c1", "f", "{}"), Piece(None, "c2", "g", "{}")], [("f", "c1", "{}"), ("g", "c2", "{}")]),
        ([Piece(None, None, "f", "{}"), Piece(None, None, "g", "{}")], [("f", None, "{}"), ("g", None, "{}")]),
        # By id where index and id disagree; an id that changes with every piece.
        ([Piece(0, "c", "f", "{"), Piece(1, "d", "g"), Piece(1, "c", None, "}")], [("f", "c", "{}"), ("g", "d", "")]),
        ([Piece(0, "x1", "f", "{"), Piece(0, "x2", None, "}")], [("f", "x1", "{}")]),
        # A call is over, and its index comes again.
        ([Piece(0, "c1", "f"), ToolCallEnd(0, "c1"), Piece(0, None, "g", "{}")], [("f", "c1", ""), ("g", None, "{}")]),
    ],
)  # fmt: skip
def test_pieces_find_their_call(pieces: list[Delta], expected: list[tuple[str | None, str | None, str]]) -> None:
    assert calls(pieces) == expected


def test_a_flood_of_calls_is_bounded() -> None:
    messages, interface = run([Piece(None, f"call{place}", "f", "{}") for place in range(5000)])
    assert len(assembled(messages)["calls"]) == 5000
    assert interface.warnings["too_many_tool_calls"] > 0
    assert len({message["otid"] for message in messages}) == 5000


def register() -> CallRegister:
    heads = NumberedHeads(Heads(None), MESSAGE_ID)
    return CallRegister(Choice(StreamSettings.load({"dialect": "chat"}), heads))


def test_a_piece_without_id_index_and_name_belongs_to_the_last_call_or_to_none() -> None:
    known = register()
    assert known.find(args(None, "{}")) is None
    call = known.find(Piece(3, "c1", "f"))
    assert known.find(args(None, "{}")) is call


def test_an_id_counts_more_than_an_index() -> None:
    known = register()
    first, second = known.find(Piece(0, "c1", "f")), known.find(Piece(1, "c2", "g"))
    assert first is not second
    assert known.find(Piece(1, "c1", None, "{}")) is first
    assert known.find_known("c1", 1) is first
    assert known.find_known("c3", 1) is second
    assert known.find_known("c3", None) is None


def test_a_call_written_as_content_is_found_by_no_later_piece() -> None:
    known = register()
    known.add_whole()
    assert known.find(args(None, "{}")) is None


def test_old_calls_are_closed_when_there_are_too_many() -> None:
    heads = NumberedHeads(Heads(None), MESSAGE_ID)
    known = CallRegister(Choice(StreamSettings.load({"dialect": "chat"}), heads))
    made = [known.add_whole() for _ in range(1025)]
    known.make_room([])
    assert heads.request.warnings["too_many_tool_calls"] == 1
    assert known.calls == made[512:]
    assert all(call.is_closed for call in made[:512])
    assert not any(call.is_closed for call in known.calls)
