"""What `show` shows: in a terminal, in a notebook, and where there is neither."""

from __future__ import annotations

import asyncio
import io
import itertools
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from client_fakes import FakeActor, FakeRouter, door
from client_fakes import message as segment
from rich.console import Console

from actors.messages import MESSAGE_ADAPTER
from actors.protocol.reads import Operation, PartState
from router.client.showing.window import BLOCKS_MAX, CHARACTERS_MAX, Window

SHARED = {"id": "m", "date": "2026-01-01T00:00:00+00:00", "run_id": "req"}
numbers = itertools.count(1)


def message(kind: str, **fields: Any) -> Any:
    return MESSAGE_ADAPTER.validate_python({**SHARED, "message_type": kind, "seq_id": next(numbers), **fields})


def said(text: str, otid: str = "1") -> Any:
    return message("assistant_message", content=text, otid=otid)


def drawn(window: Window, height: int = 20, width: int = 100) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(window.rich(height))
    return console.export_text()


def test_one_request_shows_what_was_said_piece_after_piece():
    window = Window(["req"])
    for piece in (said("Let me"), said(" look."), message("stop_reason", stop_reason="end_turn")):
        window.panels["req"].take(piece)
    text = drawn(window)
    assert "Let me look." in text
    assert "end_turn" in text
    assert "Let me look." in window.html()


def test_several_have_a_row_each_with_their_last_words():
    window = Window(["a", "b"])
    window.panels["a"].take(said("alpha"))
    window.panels["b"].fail("no request 'b'")
    text = drawn(window)
    assert "alpha" in text
    assert "streaming" in text
    assert "no request 'b'" in text
    assert "... and 1 more" in drawn(window, height=4)


def test_what_a_model_says_is_neither_markup_nor_control():
    window = Window(["<b>"])
    window.panels["<b>"].take(said("<script>alert(1)</script> [red]x[/red] \x1b[2J"))
    assert "<script>" not in window.html()
    assert "<b><b>" not in window.html()
    assert "\x1b" not in window.html()
    assert "[red]x[/red]" in drawn(window)


def test_what_is_kept_is_bounded():
    window = Window(["req"])
    for n in range(3 * BLOCKS_MAX):
        window.panels["req"].take(said("x" * 1000, otid=str(n)))
    for _ in range(100):
        window.panels["req"].take(said("y" * 1000, otid="last"))
    panel = window.panels["req"]
    assert len(panel.blocks) == BLOCKS_MAX
    assert len(panel.blocks[-1].words) == CHARACTERS_MAX
    assert panel.messages == 3 * BLOCKS_MAX + 100


# --- live ------------------------------------------------------------------------------------------------


@pytest.fixture
def router() -> FakeRouter:
    return FakeRouter()


@pytest.fixture
def actor(router) -> FakeActor:
    actor = FakeActor("s1")
    router.place("req", actor)
    stop = {**segment(1)[1], "message_type": "stop_reason", "stop_reason": "end_turn"}
    actor.bring([1, int(PartState.ENDED), None, 1, [segment(1, "hello"), [2, stop, [None]]]])
    return actor


async def test_without_a_terminal_it_writes_lines_as_an_observer(router, actor, capsys):
    client = door(router)
    await asyncio.wait_for(client.show(["req", "nonesuch"]), 5)
    out = capsys.readouterr().out
    assert "req  assistant   hello\n" in out
    assert "nonesuch: no request 'nonesuch'" in out
    assert actor.said(Operation.OBSERVE)
    assert not actor.said(Operation.SUBSCRIBE)
    await client.close()


@pytest.mark.usefixtures("actor")
async def test_in_a_terminal_it_draws_and_leaves_the_last_picture(router, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    client = door(router)
    await asyncio.wait_for(client.show("req"), 5)
    assert "hello" in capsys.readouterr().out
    await client.close()


@pytest.mark.usefixtures("actor")
async def test_in_a_notebook_it_updates_one_output(router, monkeypatch):
    pages: list[str] = []
    display = SimpleNamespace(
        HTML=str, display=lambda _first, display_id: SimpleNamespace(update=pages.append, display_id=display_id)
    )
    kernel = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: kernel, display=display))
    client = door(router)
    await asyncio.wait_for(client.show("req"), 5)
    assert "hello" in pages[-1]
    assert "end_turn" in pages[-1]
    await client.close()


def test_of_a_message_that_is_longer_than_the_terminal_the_end_is_shown():
    window = Window(["req-1"])
    window.panels["req-1"].take(said("\n".join(f"line {number}" for number in range(100))))
    lines = drawn(window, 10).splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("req-1")
    assert (lines[1], lines[-1]) == ("line 91", "line 99")
