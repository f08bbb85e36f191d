"""What a person sees of the demo: a live table in a terminal, plain lines where there is none."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from router.demo.board import Board, Row
from router.demo.figures import spread

LINES_EVERY_S = 2.0
_STYLES = {"streaming": "green", "quiet": "yellow", "waiting": "cyan", "queued": "dim", "failed": "bold red"}
_OVER_STYLE = "blue"
_BAD_ENDS = frozenset({"error", "lost", "incomplete", "cancelled"})
# Lines that are not rows: title, head, two rules, sums, and a line to spare for the prompt.
_OTHER_LINES = 9


class View(Protocol):
    """Shows a board while it changes."""

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; nothing that was live stays on the screen."""
        ...

    def show(self, board: Board, ended: list[Row], elapsed_s: float, now: float) -> None:
        """Show the board as it is now; `ended` are the requests that ended since the last call."""
        ...


def make_view(console: Console) -> View:
    """Return the view that suits the console."""
    return LiveView(console) if console.is_terminal and not console.is_dumb_terminal else LineView(console)


class LiveView:
    """One row an agent; where they do not all fit, those that move."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True, vertical_overflow="crop")

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, board: Board, ended: list[Row], elapsed_s: float, now: float) -> None:  # noqa: ARG002
        """Draw the table anew."""
        self._live.update(_screen(board, self._console.size.height, self._console.width, elapsed_s, now), refresh=True)


class LineView:
    """A line when a request ends, and the sums every other second."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next_sums_s = LINES_EVERY_S

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, board: Board, ended: list[Row], elapsed_s: float, now: float) -> None:
        """Write what is new."""
        for row in ended:
            self._line(
                elapsed_s, f"{row.agent.request_id} {row.agent.model}: {row.state(now)}, {row.messages} messages"
            )
        if elapsed_s >= self._next_sums_s:
            self._next_sums_s = elapsed_s + LINES_EVERY_S
            self._line(elapsed_s, _sums(board).plain)

    def _line(self, elapsed_s: float, text: str) -> None:
        self._console.print(f"{elapsed_s:6.1f} s  {text}", highlight=False, soft_wrap=True, markup=False)


def _screen(board: Board, height: int, width: int, elapsed_s: float, now: float) -> Group:
    rows = list(board.rows.values())
    room = max(height - _OTHER_LINES, 3)
    shown = rows if len(rows) <= room else _most_alive(rows, room - 1, now)
    table = Table(expand=True, pad_edge=False, header_style="bold", border_style="dim")
    table.add_column("request", no_wrap=True)
    table.add_column("provider/model", no_wrap=True, max_width=30, overflow="ellipsis")
    table.add_column("state", no_wrap=True, min_width=9)
    table.add_column("msgs", justify="right", no_wrap=True)
    table.add_column("/s", justify="right", no_wrap=True, min_width=3)
    table.add_column("last words", ratio=1, no_wrap=True)
    for row in shown:
        state = row.state(now)
        rate = row.rate_per_s(now)
        table.add_row(
            row.agent.request_id,
            row.agent.model,
            Text(state, style=_style(state)),
            str(row.messages),
            f"{rate:.0f}" if rate and not row.is_over else "",
            _last_words(row.tail, max(width - 70, 12), is_over=row.is_over),
        )
    parts: list[Text | Table] = [Text(f"stream-router demo  {elapsed_s:.0f} s", style="bold"), table]
    if len(shown) < len(rows):
        parts.append(Text(f"... and {len(rows) - len(shown)} more", style="dim"))
    return Group(*parts, _sums(board))


def _most_alive(rows: list[Row], count: int, now: float) -> list[Row]:
    """Return the rows to show where not all fit: those that stream first, the order kept."""
    rank = {"streaming": 0, "quiet": 1, "waiting": 2}
    chosen = {row.agent.request_id for row in sorted(rows, key=lambda row: rank.get(row.state(now), 3))[:count]}
    return [row for row in rows if row.agent.request_id in chosen]


def _sums(board: Board) -> Text:
    return Text.assemble(
        (f"{board.done}/{len(board.rows)} done", "bold"),
        f"   {board.chunks:,} chunks in, {board.messages:,} messages out",
        f"   {board.actors} stream actors" if board.actors else "",
        f"   first message p50/p99 {spread(board.first_message_s())}",
        f"   added latency p50/p99 {spread(board.added_latencies_s)}",
    )


def _style(state: str) -> str:
    return "bold red" if state in _BAD_ENDS else _STYLES.get(state, _OVER_STYLE)


def _last_words(tail: str, width: int, *, is_over: bool) -> Text:
    words = " ".join(tail.split())
    if len(words) > width:
        words = f"…{words[-width + 1 :]}"
    return Text(words, style="dim" if is_over else "")
