"""Keys of `top`: what a terminal sends is read whole however it is cut, and each key does what its help says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.cli.top.board import SORTS, Board, Mode, Order
from router.cli.top.keys import Keys

WORDS = {
    b"\x1b[A": "up", b"\x1bOB": "down", b"\x1b[5~": "page up", b"\x1b[H": "home", b"\r": "enter", b"\x7f": "backspace",
    b"j": "j", b"/": "/", "\u00e9".encode(): "\u00e9", "\N{SNOWMAN}".encode(): "\N{SNOWMAN}", b" ": " ",
    b"\x01": None, b"\x1b[200~": None, b"\x1b[1;5A": None,
}  # fmt: skip


@given(st.lists(st.sampled_from(sorted(WORDS)), max_size=8), st.data())
def test_keys_are_read_whole_wherever_the_bytes_are_cut(words, data):
    sent = b"".join(words)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(sent)), max_size=6)))
    keys, read = Keys(), []
    for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        read += keys.feed(sent[start:end])
    assert read == [WORDS[word] for word in words if WORDS[word] is not None]
    assert keys.flush() == []


def test_a_lone_escape_is_the_escape_key_once_no_more_comes():
    keys = Keys()
    assert keys.feed(b"\x1b") == []
    assert keys.flush() == ["escape"]
    assert keys.feed(b"\x1bq") == ["escape", "q"]
    assert keys.feed(b"\x1b[") == []
    assert keys.flush() == ["escape", "["]


def board(*request_ids: str) -> Board:
    made = Board(20)
    made.shows(request_ids)
    return made


def pressed(made: Board, *keys: str) -> list[Order | None]:
    return [made.press(key) for key in keys]


def test_a_request_is_selected_and_stays_so_wherever_it_moves():
    made = board("a", "b", "c")
    assert made.selected == "a"
    pressed(made, "j", "down")
    assert made.selected == "c"
    made.shows(["c", "a", "b"])
    assert made.selected == "c"
    pressed(made, "k")
    assert made.selected == "c", "it is the first now"
    pressed(made, "end")
    assert made.selected == "b"
    made.shows(["c", "a"])
    assert made.selected == "a", "what is in the place of one that has gone"
    made.shows([])
    assert made.selected is None
    assert pressed(made, "j", "enter", "c") == [None, None, None]
    assert made.mode == Mode.LIST


def test_a_request_is_viewed_and_left():
    made = board("a", "b")
    assert pressed(made, "j", "enter") == [None, Order("view", "b")]
    assert (made.mode, made.viewed) == (Mode.VIEW, "b")
    assert pressed(made, "j", "s", "escape") == [None, None, Order("leave")]
    assert (made.mode, made.viewed, made.selected) == (Mode.LIST, None, "b")


@pytest.mark.parametrize("way", [["c"], ["enter", "c"]])
def test_a_request_is_cancelled_only_where_y_answers_and_it_is_the_one_that_was_asked_about(way):
    made = board("a", "b")
    pressed(made, *way)
    assert "cancel a?" in made.help
    made.shows(["b"])  # it goes meanwhile
    assert made.press("y") == Order("cancel", "a")
    made = board("a", "b")
    pressed(made, *way)
    assert made.press("enter") is None
    assert "not cancelled" in made.help
    assert made.mode == (Mode.VIEW if "enter" in way else Mode.LIST)


def test_it_sorts_by_one_thing_after_another():
    made = board("a")
    seen = [made.sort]
    for _ in SORTS:
        assert made.press("s") == Order("look")
        seen.append(made.sort)
    assert seen == [*SORTS, SORTS[0]]


def test_a_filter_is_typed_kept_dropped_and_cleared():
    made = board("a", "q")
    pressed(made, "/", "q", "c", "s", "backspace", "up")
    assert (made.mode, made.only) == (Mode.FILTER, "qc"), "these are letters here"
    pressed(made, "enter")
    assert (made.mode, made.only) == (Mode.LIST, "qc")
    assert "(qc)" in made.help
    pressed(made, "/", "x", "escape")
    assert made.only == "qc", "as it was before"
    assert made.press("escape") == Order("look")
    assert made.only == ""


@pytest.mark.parametrize("way", [[], ["enter"]])
def test_q_quits(way):
    assert pressed(board("a"), *way, "q")[-1] == Order("quit")


KEYS = st.sampled_from(["up", "down", "enter", "escape", "backspace", "c", "y", "n", "s", "/", "x", "left", "end"])


@given(st.lists(st.one_of(KEYS, st.sets(st.sampled_from("abc")).map(sorted))))
def test_nothing_is_cancelled_but_by_c_and_then_y(steps):
    made = board("a", "b", "c")
    before: object = None
    for step in steps:
        if isinstance(step, list):
            made.shows(step)
            continue
        was = made.mode
        order = made.press(step)
        if order is not None and order.what == "cancel":
            assert (was, before, step) == (Mode.CONFIRM, "c", "y")
        assert (made.mode == Mode.VIEW) <= (made.viewed is not None)
        assert made.help
        before = step
