"""Halves of surrogate pairs: joined across pieces of one text, else replaced."""

from __future__ import annotations

import pytest

from actors.deltas import Delta, Finish, Reasoning, Text, ToolCallPiece
from actors.interface.surrogates import SurrogateMender, join_surrogates, replace_surrogates

HIGH, LOW, PAIR = "\ud83d", "\ude00", "😀"


def texts(deltas: list[Delta]) -> list[str | None]:
    return [delta.arguments if isinstance(delta, ToolCallPiece) else getattr(delta, "text", None) for delta in deltas]


@pytest.mark.parametrize(
    ("pieces", "mended"),
    [
        ([f"a{HIGH}", f"{LOW}b"], ["a", f"{PAIR}b"]),
        ([HIGH, "", LOW], ["", "", PAIR]),
        ([HIGH, "x"], ["", "\ufffdx"]),
        ([LOW, "x"], ["\ufffd", "x"]),
        ([HIGH, HIGH, LOW], ["", "\ufffd", PAIR]),
    ],
)
def test_halves_are_joined_within_one_text(pieces: list[str], mended: list[str]) -> None:
    mender = SurrogateMender()
    assert texts([delta for piece in pieces for delta in mender.mend([Text(piece)])]) == mended
    assert mender.rest() == []


def test_texts_do_not_mix() -> None:
    mender = SurrogateMender()
    first = [Text(HIGH), Text(HIGH, choice=1), Reasoning(HIGH), ToolCallPiece(0, arguments=HIGH)]
    second = [ToolCallPiece(0, arguments=LOW), Reasoning(LOW), Text(LOW, choice=1), Text(LOW)]
    assert texts(mender.mend(first)) == [""] * 4
    assert texts(mender.mend(second)) == [PAIR] * 4


def test_a_half_that_stays_alone_comes_out_once_as_its_replacement() -> None:
    mender = SurrogateMender()
    mender.mend([Text(HIGH, choice=2), ToolCallPiece(3, arguments=HIGH)])
    assert mender.rest() == [Text("\ufffd", 2), ToolCallPiece(3, arguments="\ufffd")]
    assert mender.rest() == []


def test_every_other_field_is_made_encodable() -> None:
    deltas = SurrogateMender().mend([Finish("stop", detail=f"a{HIGH}"), ToolCallPiece(0, "c", f"f{LOW}")])
    assert (deltas[0].detail, deltas[1].name) == ("a\ufffd", "f\ufffd")  # type: ignore[union-attr]  # a Finish, a piece


def test_the_number_of_held_halves_is_bounded() -> None:
    mender = SurrogateMender()
    last = [mender.mend([ToolCallPiece(index, arguments=HIGH)]) for index in range(1025)][-1]
    assert texts(last) == ["\ufffd"]


def test_joining_and_replacing() -> None:
    assert join_surrogates(HIGH, f"{LOW}b") == (f"{PAIR}b", "")
    assert join_surrogates(HIGH, "b") == ("\ufffdb", "")
    assert join_surrogates(HIGH, "") == ("", HIGH)
    assert replace_surrogates(f"a{HIGH}{PAIR}{LOW}") == f"a\ufffd{PAIR}\ufffd"
