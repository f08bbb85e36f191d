"""The live view of `top` on a terminal: it looks at the service, draws, follows one request, and takes keys."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import tty
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.text import Text

from actors.errors import StreamRouterError
from router.cli import service_view
from router.cli.service_view import Rates
from router.cli.top.board import Board, Mode, Order
from router.cli.top.keys import Keys
from router.client.service import within
from router.client.showing.transcript import shown
from router.client.showing.window import Window

if TYPE_CHECKING:
    from router.client.stream_router import StreamRouter
    from router.status.overview import Overview

ESCAPE_S = 0.05
"""Where nothing follows an ESC for so long, it was the escape key."""
REDRAW_S = 0.05
"""What a request says is drawn so often at most."""
FOOT_LINES = 1
READ_BYTES = 1024


def takes_keys(console: Console) -> bool:
    """Whether somebody sits in front of this console who can press keys."""
    return console.is_terminal and sys.stdin.isatty()


async def show_with_keys(console: Console, router: StreamRouter, every_s: float, wait_s: float, board: Board) -> None:
    """Show a service until its reader quits; the last list stays on the screen."""
    view = _View(console, router, every_s, wait_s, board)
    with Live(console=console, auto_refresh=False, screen=True, redirect_stdout=False) as live, _keys_to(view.press):
        await view.run(live)
    console.print(view.list(None))


@contextmanager
def _keys_to(press: Callable[[str], None]) -> Iterator[None]:
    """Hand over keys as they are pressed, and do not echo them."""
    descriptor, loop, keys = sys.stdin.fileno(), asyncio.get_running_loop(), Keys()
    flushing: asyncio.TimerHandle | None = None

    def take(pressed: list[str]) -> None:
        for key in pressed:
            press(key)

    def read() -> None:
        nonlocal flushing
        if flushing is not None:
            flushing.cancel()
        data = os.read(descriptor, READ_BYTES)
        take(keys.feed(data) if data else ["q"])  # without any, the terminal is gone
        flushing = loop.call_later(ESCAPE_S, lambda: take(keys.flush()))

    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, read)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        if flushing is not None:
            flushing.cancel()
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


class _View:
    """One person's view. Use within one event loop."""

    def __init__(self, console: Console, router: StreamRouter, every_s: float, wait_s: float, board: Board) -> None:
        self._console = console
        self._router = router
        self._every_s = every_s
        self._wait_s = wait_s
        self._board = board
        self._seen: tuple[Overview, Rates] | None = None
        self._panel: Window | None = None
        self._following: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._is_over = False
        self._look = asyncio.Event()
        self._draw = asyncio.Event()

    async def run(self, live: Live) -> None:
        """Show, until its reader quits. Raises what looking at the service does."""
        looking = self._spawn(self._keep_looking())
        try:
            while not self._is_over:
                live.update(self._picture(), refresh=True)
                self._draw.clear()
                drawn = asyncio.ensure_future(self._draw.wait())
                await asyncio.wait([drawn, looking], return_when=asyncio.FIRST_COMPLETED)
                drawn.cancel()
                if looking.done():
                    looking.result()
                await asyncio.sleep(REDRAW_S)
        finally:
            for task in self._background:
                task.cancel()
            await asyncio.gather(*self._background, return_exceptions=True)

    def press(self, key: str) -> None:
        """Take a key."""
        order = self._board.press(key)
        if order is not None:
            self._obey(order)
        self._draw.set()

    def _obey(self, order: Order) -> None:
        match order.what:
            case "quit":
                self._is_over = True
            case "look":
                self._look.set()
            case "cancel":
                self._spawn(self._cancel(order.request_id))
            case "view":
                self._panel = Window([order.request_id])
                self._following = self._spawn(self._follow(self._panel, order.request_id))
            case "leave":
                self._panel = None
                if self._following is not None:
                    self._following.cancel()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    # --- what the service says --------------------------------------------------------------

    async def _keep_looking(self) -> None:
        loop = asyncio.get_running_loop()
        before: Overview | None = None
        looked_at = loop.time()
        while True:
            began = loop.time()
            now = await within(self._wait_s, self._router.overview(self._board.streams.asked))
            self._seen = now, Rates(before, now, began - looked_at)
            before, looked_at = now, began
            self._draw.set()
            self._look.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), self._every_s)

    async def _follow(self, window: Window, request_id: str) -> None:
        panel = window.panels[request_id]
        try:
            async for message in self._router.messages(request_id, coalesce="tokens", observer=True):
                panel.take(message)
                self._draw.set()
        except StreamRouterError as error:
            panel.fail(str(error))
            self._draw.set()

    async def _cancel(self, request_id: str) -> None:
        try:
            was_open = await within(self._wait_s, self._router.cancel(request_id, detail="cancelled by hand, in top"))
            self._board.notice = f"{request_id} {'is cancelled' if was_open else 'had ended already'}"
        except StreamRouterError as error:
            self._board.notice = str(error)
        self._look.set()
        self._draw.set()

    # --- what is drawn ----------------------------------------------------------------------

    def _picture(self) -> RenderableType:
        lines = self._console.size.height - FOOT_LINES
        help_ = Text(shown(self._board.help), style=_FOOT_STYLES.get(self._board.mode, "dim"))
        help_.truncate(self._console.size.width, overflow="ellipsis")
        return _Footed(self.list(lines) if self._panel is None else self._panel.rich(lines - 1), help_, lines)

    def list(self, height: int | None) -> RenderableType:
        """Return the list of requests with all above it, for so many lines."""
        if self._seen is None:
            return Text("looking ...", style="dim")
        overview, rates = self._seen
        chosen = self._board.streams.of(overview, rates.of_stream)
        self._board.shows([stream.request_id for stream in chosen.streams])
        return service_view.top(chosen, rates, height, self._board.selected if height is not None else None)


class _Footed:
    """As much of a body as fits into so many lines, and a line below it, always in the same place."""

    def __init__(self, body: RenderableType, foot: Text, lines: int) -> None:
        self._body, self._foot, self._lines = body, foot, lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        drawn = console.render_lines(self._body, options.reset_height(), pad=False)[: self._lines]
        for line in (*drawn, *[[]] * (self._lines - len(drawn))):
            yield from line
            yield Segment.line()
        yield self._foot


_FOOT_STYLES = {Mode.FILTER: "bold", Mode.CONFIRM: "bold red"}
