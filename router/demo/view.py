"""The view of the demo: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from router.demo.board import Board, Row
from router.demo.figures import spread

LINES_EVERY_S = 2.0
_STYLES = {"streaming": "green", "quiet": "yellow", "waiting": "cyan", "queued": "dim", "failed": "bold red"}
_OVER_STYLE = "blue"
_BAD_ENDS = frozenset({"error", "lost", "incomplete", "cancelled"})
# Lines that are not rows: title, head, rules, two lines of sums, and one to spare for the prompt.
_OTHER_LINES = 9
_STATE_CELLS, _COUNT_CELLS, _RATE_CELLS = 10, 5, 4
# All that is neither request, model nor words: the narrow columns and the space between columns.
_NARROW_CELLS = _STATE_CELLS + _COUNT_CELLS + _RATE_CELLS + 18


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
    """One row an agent; where they do not all fit, those that stream come first."""

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
            sums = "; ".join(", ".join(line) for line in _sums(board))
            self._line(elapsed_s, f"{board.done}/{len(board.rows)} done; {sums}")

    def _line(self, elapsed_s: float, text: str) -> None:
        self._console.print(f"{elapsed_s:6.1f} s  {text}", highlight=False, soft_wrap=True, markup=False)


def _screen(board: Board, height: int, width: int, elapsed_s: float, now: float) -> Group:
    rows = list(board.rows.values())
    room = max(height - _OTHER_LINES, 3)
    shown = rows if len(rows) <= room else _most_alive(rows, room - 1, now)
    request_cells = max(len(row.agent.request_id) for row in rows)
    model_cells = min(max(len(row.agent.model) for row in rows), max(width // 4, 12))
    words_cells = max(width - request_cells - model_cells - _NARROW_CELLS, 8)
    table = Table(box=SIMPLE_HEAD, expand=True, pad_edge=False, padding=(0, 1), header_style="bold")
    table.add_column("request", no_wrap=True, width=request_cells)
    table.add_column("provider/model", no_wrap=True, width=model_cells, overflow="ellipsis")
    table.add_column("state", no_wrap=True, width=_STATE_CELLS)
    table.add_column("msgs", justify="right", no_wrap=True, width=_COUNT_CELLS)
    table.add_column("/s", justify="right", no_wrap=True, width=_RATE_CELLS)
    table.add_column("last words", ratio=1, no_wrap=True)
    for row in shown:
        state = row.state(now)
        rate = row.rate_per_s(now)
        table.add_row(
            Text(row.agent.request_id, style="dim" if row.is_over else ""),
            Text(row.agent.model, style="dim" if row.is_over else ""),
            Text(state, style=_style(state)),
            f"{row.messages:,}",
            f"{rate:.0f}" if rate and not row.is_over else "",
            _last_words(row.tail, words_cells, is_over=row.is_over),
        )
    head = Table.grid(expand=True, padding=(0, 1))
    head.add_column(no_wrap=True)
    head.add_column(ratio=1)
    head.add_column(no_wrap=True)
    head.add_row(
        Text("stream-router demo", style="bold"),
        ProgressBar(total=len(rows), completed=board.done, complete_style="green"),
        f"{board.done}/{len(rows)} done  {elapsed_s:3.0f} s",
    )
    parts: list[RenderableType] = [head, table]
    if len(shown) < len(rows):
        parts.append(Text(f"... and {len(rows) - len(shown)} more", style="dim"))
    return Group(*parts, *(Text("   ".join(line), no_wrap=True, overflow="ellipsis") for line in _sums(board)))


def _most_alive(rows: list[Row], count: int, now: float) -> list[Row]:
    """Return the rows to show where not all fit: those that stream first, the order kept."""
    rank = {"streaming": 0, "quiet": 1, "waiting": 2}
    chosen = {row.agent.request_id for row in sorted(rows, key=lambda row: rank.get(row.state(now), 3))[:count]}
    return [row for row in rows if row.agent.request_id in chosen]


def _sums(board: Board) -> list[list[str]]:
    """Return the sums in two lines: how much, and how long it took."""
    counts = [f"{board.chunks:,} chunks in", f"{board.messages:,} messages out"]
    if board.actors:
        counts.append(f"{board.actors} stream actors")
    if not board.messages:
        return [counts]
    first, added = spread(board.first_message_s()), spread(board.added_latencies_s)
    return [counts, [f"p50 / p99: first message {first}", f"added latency {added}"]]


def _style(state: str) -> str:
    return "bold red" if state in _BAD_ENDS else _STYLES.get(state, _OVER_STYLE)


def _last_words(tail: str, cells: int, *, is_over: bool) -> Text:
    """Return the end of a text in one line that takes so many cells (a Chinese character takes two)."""
    words = " ".join(tail.split())
    if cell_len(words) > cells:
        while cell_len(words) > cells - 1:
            words = words[1 + (cell_len(words) - cells) // 2 :]
        words = f"…{words}"
    return Text(words, style="dim" if is_over else "")
