"""What a person sees of `top` in a terminal, who presses keys: a pseudo terminal, and a service of a few requests."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import io
import os
import pty
import re
import sys
import termios
from collections.abc import AsyncIterator, Iterator

import pytest
from rich.console import Console

from actors.messages import MESSAGE_ADAPTER, Message
from router.cli import service_view
from router.cli.service_view import Rates
from router.cli.top.board import Board
from router.cli.top.live import show_with_keys, takes_keys
from router.status.overview import Overview, StreamOverview

WITHIN_S = 20.0
_SEQUENCES = re.compile(r"\x1b\[[0-9;?]*[@-~]")


class Service:
    """As much of a `StreamRouter` as `top` asks."""

    def __init__(self, *request_ids: str) -> None:
        self.request_ids = [*request_ids]
        self.cancelled: list[str] = []
        self.following: list[str] = []

    async def overview(self, _streams: int) -> Overview:
        plain = {"actor_id": "s1", "epoch": 1, "provider": "gemini", "unread_bytes": 0, "age_s": 1.0, "agent_id": None}
        streams = [
            StreamOverview.model_validate(
                {**plain, "request_id": name, "messages": at, "lag": len(self.request_ids) - at}
            )
            for at, name in enumerate(self.request_ids)
        ]
        return Overview(name="agents", namespace="here", routers=[], stream_actors=[], streams=streams)

    async def messages(self, request_id: str, **_options: object) -> AsyncIterator[Message]:
        self.following.append(request_id)
        try:
            for seq_id, word in enumerate(("Once ", "upon\x1b[2J a ", f"time, {request_id}."), 1):
                fields = {"message_type": "assistant_message", "id": "m", "date": "2026-01-01T00:00:00+00:00"}
                yield MESSAGE_ADAPTER.validate_python({**fields, "content": word, "seq_id": seq_id})
            await asyncio.Event().wait()
        finally:
            self.following.remove(request_id)

    async def cancel(self, request_id: str, *, detail: str) -> bool:
        assert detail
        self.cancelled.append(request_id)
        self.request_ids.remove(request_id)
        return True


class Terminal:
    """The other end of a pseudo terminal: what was drawn, and a keyboard."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._drawn = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        os.set_blocking(descriptor, False)

    def press(self, keys: str) -> None:
        self._drawn = ""
        os.write(self._descriptor, keys.encode())

    async def shows(self, *texts: str) -> str:
        """Wait until one picture since the last key has all of these; return it."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                picture = self.picture()
                if all(text in picture for text in texts):
                    return picture
                await asyncio.sleep(0.01)

    def raw(self) -> str:
        with contextlib.suppress(OSError):  # nothing more is there now
            while True:
                self._drawn += self._decoder.decode(os.read(self._descriptor, 1 << 16))
        return self._drawn

    def picture(self) -> str:
        return _SEQUENCES.sub("", self.raw())


@pytest.fixture
def terminal(monkeypatch) -> Iterator[tuple[Terminal, Console]]:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 120))
    with os.fdopen(theirs, "r+b", buffering=0) as raw, os.fdopen(os.dup(theirs), "w") as out:
        monkeypatch.setattr(sys, "stdin", raw)
        console = Console(file=out, force_terminal=True, width=120, height=40)
        yield Terminal(ours), console
    os.close(ours)


async def test_a_person_selects_views_cancels_filters_sorts_and_quits(terminal):
    screen, console = terminal
    service = Service("req-a", "req-b", "req-c")
    before = termios.tcgetattr(sys.stdin.fileno())
    assert takes_keys(console)
    showing = asyncio.ensure_future(show_with_keys(console, service, 0.1, 5.0, Board(20)))
    await screen.shows("req-a", "req-b", "req-c", "enter view")
    screen.press("j\r")
    picture = await screen.shows("Once upon", "time, req-b.", "escape back")
    assert "\N{REPLACEMENT CHARACTER}[2J" in picture, "what a model says cannot take the terminal over"
    screen.press("\x1b")
    await screen.shows("req-a", "req-b", "s sort (lag)")
    assert service.following == []
    screen.press("c")
    await screen.shows("cancel req-b?")
    screen.press("n")
    await screen.shows("not cancelled")
    assert service.cancelled == []
    screen.press("cy")
    await screen.shows("req-b is cancelled")
    assert service.cancelled == ["req-b"]
    screen.press("/req-c\r")
    picture = await screen.shows("/ filter (req-c)")
    screen.press("s")
    await screen.shows("s sort (rate)", "req-c")
    screen.press("q")
    await asyncio.wait_for(showing, WITHIN_S)
    assert termios.tcgetattr(sys.stdin.fileno()) == before, "the terminal is as it was"
    assert "req-c" in screen.picture(), "the last list stays"


async def test_what_looking_at_the_service_raises_ends_it_and_gives_the_terminal_back(terminal):
    screen, console = terminal

    class Gone(Service):
        async def overview(self, _streams: int) -> Overview:
            raise ConnectionError("gone")

    before = termios.tcgetattr(sys.stdin.fileno())
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(show_with_keys(console, Gone(), 0.1, 5.0, Board(20)), WITHIN_S)
    assert termios.tcgetattr(sys.stdin.fileno()) == before
    drawn = screen.raw()
    assert drawn.rfind("\x1b[?25h") > drawn.rfind("\x1b[?25l"), "the cursor is back"
    assert drawn.rfind("\x1b[?1049l") > drawn.rfind("\x1b[?1049h"), "and so is what was on the screen before"


async def test_in_a_low_terminal_the_selected_request_is_seen_wherever_it_is_in_the_list():
    overview = await Service(*(f"req-{number}" for number in range(40))).overview(40)
    for selected in ("req-0", "req-20", "req-39"):
        console = Console(width=80, record=True, file=io.StringIO())
        console.print(service_view.top(overview, Rates(None, overview, 0.0), 23, selected))
        text = console.export_text()
        assert f" {selected} " in text
        assert text.count("req-") > 10
        assert len(text.rstrip().splitlines()) <= 23
