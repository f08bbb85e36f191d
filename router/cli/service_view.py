"""What `status`, `top` and `drain` show of a service."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from router.cli.streams_shown import StreamsShown
from router.cli.terminal import some
from router.client.service import within
from router.status.overview import Overview, RequestDescription, StreamActorOverview

if TYPE_CHECKING:
    from router.client.finding.listing import RequestInfo
    from router.client.stream_router import StreamRouter

PLAIN_WIDTH = 160
# All that is no row: title, three tables' heads, rules and blank lines, their "... more", the prompt.
_OTHER_LINES = 18
_ROUTERS_SHOWN_MAX = 8
# In a low terminal whoever selects streams sees these, without the tables above them.
_LOW_LINES = 30
_LOW_OTHER_LINES = 7
_NODE_CHARACTERS = 8
_STATE_STYLES = {
    "ready": "green",
    "starting": "yellow",
    "retiring": "dim",
    "draining": "yellow",
    "open": "green",
    "waiting": "yellow",
    "sealed": "dim",
}
_SIZES = ("B", "kB", "MB", "GB", "TB")
_SIZE_STEP = 1000
_MINUTE_S, _HOUR_S = 60, 3600


class Rates:
    """How fast totals grow, from two overviews of a service."""

    def __init__(self, before: Overview | None, now: Overview, elapsed_s: float) -> None:
        self._elapsed_s = elapsed_s
        self._known = before is not None and elapsed_s > 0
        self._actors = {actor.actor_id: actor for actor in before.stream_actors} if before else {}
        self._routers = {router.actor_id: router.counts for router in before.routers} if before else {}
        self._streams = {stream.request_id: stream.messages for stream in before.streams} if before else {}
        self.chunks: float = 0.0
        self.messages: float = 0.0
        self.chunk_bytes: float = 0.0
        for actor in now.stream_actors:
            self.chunks += self.of_actor(actor, "chunks") or 0
            self.messages += self.of_actor(actor, "messages") or 0
            self.chunk_bytes += self.of_actor(actor, "chunk_bytes") or 0

    def _per_s(self, now: float, before: float | None) -> float | None:
        # A total that fell belongs to an actor that was restarted.
        if not self._known or before is None:
            return None
        return max(0.0, now - before) / self._elapsed_s

    def of_actor(self, actor: StreamActorOverview, total: str) -> float | None:
        """Return the growth per second of one of a stream actor's totals."""
        before = self._actors.get(actor.actor_id)
        return self._per_s(getattr(actor, total), getattr(before, total)) if before is not None else None

    def of_router(self, actor_id: str, counts: dict[str, int], total: str) -> float | None:
        """Return the growth per second of one of a router's counts."""
        before = self._routers.get(actor_id)
        return self._per_s(counts[total], before.get(total)) if before is not None else None

    def of_stream(self, request_id: str, messages: int) -> float | None:
        """Return a stream's messages per second."""
        return self._per_s(messages, self._streams.get(request_id))


def status(overview: Overview) -> RenderableType:
    """Return all of a service but its streams; no rates."""
    ended: dict[str, int] = {}
    for router in overview.routers:
        for reason, count in (*router.ended_by.items(), *router.refused_by.items()):
            ended[reason] = ended.get(reason, 0) + count
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(ended.items(), key=lambda kv: -kv[1]))
    return Group(
        _title(overview, None),
        _routers(overview, None, len(overview.routers)),
        _actors(overview, None, len(overview.stream_actors)),
        Text(f"ended or refused: {reasons or 'none yet'}"),
    )


def top(overview: Overview, rates: Rates, height: int | None, selected: str | None = None) -> RenderableType:
    """Return a service with its rates and streams, cut to `height` lines (None: all); the selected stream is marked."""
    if selected is not None and height is not None and height < _LOW_LINES:
        return Group(_title(overview, rates), _streams(overview, rates, max(height - _LOW_OTHER_LINES, 1), selected))
    routers = min(len(overview.routers), _ROUTERS_SHOWN_MAX)
    actors, streams = len(overview.stream_actors), len(overview.streams)
    if height is not None:
        routers = min(routers, max((height - _OTHER_LINES) // 3, 1))
        room = max(height - _OTHER_LINES - routers, 1)
        actors = min(actors, max(room // 2, room - streams, 1))
        streams = min(streams, max(room - actors, 0))
    parts: list[RenderableType] = [_title(overview, rates), _routers(overview, rates, routers)]
    parts.append(_actors(overview, rates, actors))
    if streams:
        parts.append(_streams(overview, rates, streams, selected))
    return Group(*parts)


def requests(listed: Sequence[RequestDescription]) -> RenderableType:
    """Return a table of requests."""
    rows: list[list[Column]] = [
        [
            ("request", request.request_id),
            ("state", _state(request.state)),
            ("stream actor", request.actor_id or "-"),
            (">epoch", str(request.epoch)),
            (">messages", f"{request.last_seq_id:,}"),
            ("end", request.stop_reason or ""),
            ("agent", request.agent_id or ""),
        ]
        for request in listed
    ]
    return _Rows(_without_empty(rows, "agent"), 0, ("epoch", "stream actor", "agent"))


def found(listed: Sequence[RequestInfo]) -> RenderableType:
    """Return a table of requests with what was said of them."""
    rows: list[list[Column]] = [
        [
            ("request", Text(request.request_id)),
            ("created", f"{request.created_at:%Y-%m-%d %H:%M:%S}"),
            ("state", _state(request.state)),
            (">messages", f"{request.last_seq_id:,}"),
            (">tokens", f"{request.usage.total_tokens:,}" if request.usage and request.usage.reported else ""),
            ("end", request.stop_reason or ""),
            ("agent", Text(request.agent_id or "")),
            ("tags", Text(" ".join(f"{name}={value}" if value else name for name, value in request.tags.items()))),
            ("owner", Text(request.owner)),
        ]
        for request in listed
    ]
    return _Rows(_without_empty(_without_empty(rows, "agent"), "tags"), 0, ("owner", "tokens", "tags"))


async def show_once(
    console: Console, router: StreamRouter, every_s: float, wait_s: float, streams: StreamsShown
) -> None:
    """Ask twice, so that there are rates, and print the state once."""
    loop = asyncio.get_running_loop()
    before, looked_at = await within(wait_s, router.overview(streams.asked)), loop.time()
    await asyncio.sleep(every_s)
    now = await within(wait_s, router.overview(streams.asked))
    rates = Rates(before, now, loop.time() - looked_at)
    console.print(top(streams.of(now, rates.of_stream), rates, None))


async def show_live(
    console: Console, router: StreamRouter, every_s: float, wait_s: float, streams: StreamsShown
) -> None:
    """Show the state anew until interrupted; the last one stays on the screen."""
    loop = asyncio.get_running_loop()
    before, looked_at = None, loop.time()
    with Live(console=console, auto_refresh=False, vertical_overflow="crop", redirect_stdout=False) as live:
        while True:
            began = loop.time()
            now = await within(wait_s, router.overview(streams.asked))
            rates = Rates(before, now, began - looked_at)
            live.update(top(streams.of(now, rates.of_stream), rates, console.size.height), refresh=True)
            before, looked_at = now, began
            await asyncio.sleep(every_s)


class Countdown:
    """How many requests are still open: one line that changes in a terminal, a line a change elsewhere."""

    def __init__(self, console: Console, name: str) -> None:
        self._console = console
        self._name = name
        self._last: int | None = None
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, still_open: int) -> None:
        """Show the number."""
        if still_open == self._last:
            return
        self._last = still_open
        line = Text(f"service {self._name!r} takes no new requests; {still_open} still open")
        if self._live is not None:
            self._live.update(line, refresh=True)
        elif still_open:
            self._console.print(line)


# --- parts --------------------------------------------------------------------------------------


def _title(overview: Overview, rates: Rates | None) -> Text:
    nodes = {router.node_id for router in overview.routers} | {a.node_id for a in overview.stream_actors if a.node_id}
    waiting, opened = sum(r.waiting for r in overview.routers), sum(r.open for r in overview.routers)
    sealed = sum(r.sealed for r in overview.routers)
    text = Text(overview.name, style="bold")
    text.append(f"  {overview.namespace}", style="dim")
    text.append(
        f"  {some(len(overview.routers), 'router')}, {some(len(overview.stream_actors), 'stream actor')} on "
        f"{some(len(nodes), 'node')}; "
        f"{opened:,} open, {waiting:,} waiting, {sealed:,} ended and readable",
        style="not bold",
    )
    if rates is not None:
        text.append(
            f"\n{rates.chunks:,.0f} chunks/s in ({_size(rates.chunk_bytes)}/s), {rates.messages:,.0f} messages/s out",
            style="not bold cyan",
        )
    return text


Cell = Text | str
Column = tuple[str, Cell]
"""A heading (`>` before it: numbers) and what a row has there."""


class _Rows:
    """A table; all rows have the same columns. Where the terminal is narrow it goes without some.

    `dispensable`: headings in the order in which they are left out.
    """

    def __init__(
        self,
        rows: list[list[Column]],
        left_out: int = 0,
        dispensable: Sequence[str] = (),
        marked: int | None = None,
    ) -> None:
        self._rows, self._left_out, self._dispensable, self._marked = rows, left_out, dispensable, marked

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = self._rows
        for heading in self._dispensable:
            if _width(rows) <= options.max_width:
                break
            rows = [[column for column in row if column[0].removeprefix(">") != heading] for row in rows]
        table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), header_style="bold")
        for heading, _ in rows[0] if rows else [("nothing yet", "")]:
            right = heading.startswith(">")
            table.add_column(
                heading.removeprefix(">"), justify="right" if right else "left", no_wrap=True, overflow="ellipsis"
            )
        for at, row in enumerate(rows):
            table.add_row(*(cell for _, cell in row), style="reverse" if at == self._marked else None)
        yield table
        if self._left_out:
            yield Text(f" ... and {self._left_out} more", style="dim")


def _width(rows: list[list[Column]]) -> int:
    """Return the cells that a table of these rows takes, with what is between its columns and at its edges."""
    columns = zip(*rows, strict=True)
    widths = [
        max(cell_len(str(text)) for heading, cell in column for text in (heading.removeprefix(">"), cell))
        for column in columns
    ]
    return sum(widths) + 3 * (len(widths) - 1) + 2


def _routers(overview: Overview, rates: Rates | None, shown: int) -> _Rows:
    rows = []
    for router in overview.routers[:shown]:
        counts = router.counts
        row: list[Column] = [
            ("router", router.actor_id),
            ("state", _state(router.state)),
            ("node", router.node_id[:_NODE_CHARACTERS]),
            (">pid", str(router.pid)),
            (">open", f"{router.open:,}"),
            (">waiting", f"{router.waiting:,}"),
            (">opened", f"{counts['opened']:,}"),
        ]
        if rates is not None:
            row.append((">opens/s", _rate(rates.of_router(router.actor_id, counts, "opened"))))
        row += [
            (">ended", f"{counts['sealed']:,}"),
            (">refused", _alarm(counts["refused"], "yellow")),
            (">replays", _alarm(counts["restarted"], "yellow")),
            (">lost", _alarm(counts["lost"], "bold red")),
            (">clients", f"{router.clients:,}"),
        ]
        rows.append(row)
    return _Rows(
        rows, len(overview.routers) - shown, ("pid", "clients", "node", "ended", "opened", "replays", "refused")
    )


def _actors(overview: Overview, rates: Rates | None, shown: int) -> _Rows:
    rows = []
    for actor in sorted(overview.stream_actors, key=lambda actor: (-actor.open, actor.actor_id))[:shown]:
        is_silent = not actor.answered and actor.state != "starting"
        row: list[Column] = [
            ("stream actor", actor.actor_id),
            ("state", Text("silent", style="bold red") if is_silent else _state(actor.state)),
            ("node", actor.node_id[:_NODE_CHARACTERS]),
            (">pid", str(actor.pid or "-")),
            (">open", f"{actor.open:,}"),
            (">served", f"{actor.served:,}"),
        ]
        if rates is not None:
            row += [
                (">chunks/s", _rate(rates.of_actor(actor, "chunks"))),
                (">messages/s", _rate(rates.of_actor(actor, "messages"))),
                (">waits/s", _rate(rates.of_actor(actor, "credit_waits"))),
            ]
        row += [
            (">held", _size(actor.bytes_held)),
            (">unread", _size(actor.unread_bytes)),
            (">lag", f"{actor.lag_max:,}"),
            (">readers", f"{actor.readers:,}"),
        ]
        rows.append(row)
    return _Rows(
        rows, len(overview.stream_actors) - shown, ("pid", "readers", "node", "held", "served", "waits/s", "state")
    )


def _streams(overview: Overview, rates: Rates, shown: int, selected: str | None) -> _Rows:
    ids = [stream.request_id for stream in overview.streams]
    at = ids.index(selected) if selected in ids else None
    # The selected one is in the middle of what is shown, as far as that goes.
    first = 0 if at is None else max(0, min(at - shown // 2, len(ids) - shown))
    rows: list[list[Column]] = [
        [
            ("request", stream.request_id),
            ("provider", stream.provider),
            ("stream actor", stream.actor_id),
            (">messages", f"{stream.messages:,}"),
            (">/s", _rate(rates.of_stream(stream.request_id, stream.messages))),
            (">lag", f"{stream.lag:,}"),
            (">unread", _size(stream.unread_bytes)),
            (">age", _age(stream.age_s)),
            (">epoch", str(stream.epoch)),
            ("agent", stream.agent_id or ""),
        ]
        for stream in overview.streams[first : first + shown]
    ]
    dispensable = ("epoch", "unread", "provider", "stream actor", "age", "agent")
    return _Rows(_without_empty(rows, "agent"), 0, dispensable, None if at is None else at - first)


def _without_empty(rows: list[list[Column]], heading: str) -> list[list[Column]]:
    """Leave out a column that has nothing in any row."""
    if any(cell for row in rows for name, cell in row if name == heading):
        return rows
    return [[column for column in row if column[0] != heading] for row in rows]


def _state(state: str) -> Text:
    return Text(state, style=_STATE_STYLES.get(state, ""))


def _alarm(count: int, style: str) -> Text:
    return Text(f"{count:,}", style=style if count else "")


def _rate(per_s: float | None) -> str:
    return "" if per_s is None else f"{per_s:,.0f}"


def _size(size_bytes: float) -> str:
    for unit in _SIZES:
        if size_bytes < _SIZE_STEP or unit == _SIZES[-1]:
            return f"{size_bytes:,.0f} {unit}" if unit == "B" else f"{size_bytes:,.1f} {unit}"
        size_bytes /= _SIZE_STEP
    return ""


def _age(age_s: float | None) -> str:
    if age_s is None:
        return "-"
    if age_s < _MINUTE_S:
        return f"{age_s:.0f} s"
    if age_s < _HOUR_S:
        return f"{age_s / _MINUTE_S:.0f} min"
    return f"{age_s / _HOUR_S:.1f} h"
