"""Showing requests live: in a notebook as HTML, in a terminal by rich, elsewhere as lines."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from actors.errors import RouterClosed, StreamRouterError
from router.client.reading.messages import Messages
from router.client.showing.transcript import Tail
from router.client.showing.window import Window

REDRAW_S = 0.1

Draw = Callable[[Window], None]
ReadOne = Callable[[str], Messages]


async def show(request_ids: Sequence[str], read: ReadOne) -> None:
    """Show requests until all have ended. One that cannot be read says so in its place. Raises RouterClosed."""
    window = Window(request_ids)
    if not _is_notebook() and not sys.stdout.isatty():
        await _as_lines(window, read)
        return
    with _notebook() if _is_notebook() else _terminal() as draw:
        drawing = asyncio.ensure_future(_redraw(window, draw))
        try:
            await asyncio.gather(*(_follow(window, request_id, read, None) for request_id in window.panels))
        finally:
            drawing.cancel()
            await asyncio.wait([drawing])
            draw(window)


async def _follow(window: Window, request_id: str, read: ReadOne, tail: Tail | None) -> None:
    panel = window.panels[request_id]
    try:
        async for message in read(request_id):
            panel.take(message)
            if tail is not None:
                tail.take(request_id, message)
    except RouterClosed:
        raise  # nothing more can be shown of any
    except StreamRouterError as error:
        panel.fail(str(error))
        if tail is not None:
            tail.close()
            sys.stdout.write(f"{request_id}: {panel.state}\n")


async def _as_lines(window: Window, read: ReadOne) -> None:
    tail = Tail(sys.stdout.write, prefixes=len(window.panels) > 1)
    try:
        await asyncio.gather(*(_follow(window, request_id, read, tail) for request_id in window.panels))
    finally:
        tail.close()
        sys.stdout.flush()


async def _redraw(window: Window, draw: Draw) -> None:
    while True:
        draw(window)
        await asyncio.sleep(REDRAW_S)


def _is_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and getattr(shell, "kernel", None) is not None


@contextmanager
def _notebook() -> Iterator[Draw]:
    display: Any = sys.modules["IPython"].display  # a notebook has it, and this package does not need it
    shown = display.display(display.HTML(""), display_id=True)
    yield lambda window: shown.update(display.HTML(window.html()))


@contextmanager
def _terminal() -> Iterator[Draw]:
    from rich.console import Console  # noqa: PLC0415  # only where there is a terminal
    from rich.live import Live  # noqa: PLC0415  # as above

    console = Console()
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        yield lambda window: live.update(window.rich(console.size.height - 2), refresh=True)
