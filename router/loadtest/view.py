"""The view of a running load test: a live screen in a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from router.loadtest.figure_names import COUNTS
from router.loadtest.measurements import Bin, Histogram
from router.loadtest.runner import State

LINES_EVERY_S = 5.0
SPARK_BINS = 60
LAST_BINS = 5
FAULTS_SHOWN = 6
_BARS = "▁▂▃▄▅▆▇█"


class LiveView:
    """The whole screen, drawn anew once a second."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(
            console=console, auto_refresh=False, transient=True, vertical_overflow="crop", redirect_stdout=False
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, state: State) -> None:
        """See `runner.View`."""
        self._live.update(screen(state), refresh=True)


class LineView:
    """A line every few seconds, one for each fault."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next_s = 0.0
        self._faults = 0
        self._phase = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, state: State) -> None:
        """See `runner.View`."""
        for fault in state.faults[self._faults :]:
            self._line(fault.at_s, f"fault: {_fault(fault)}")
        self._faults = len(state.faults)
        if state.phase != self._phase or state.elapsed_s >= self._next_s:
            self._next_s = state.elapsed_s + LINES_EVERY_S
            self._phase = state.phase
            self._line(state.elapsed_s, line(state))

    def _line(self, at_s: float, text: str) -> None:
        self._console.print(f"{at_s:6.1f} s  {text}", highlight=False, markup=False, soft_wrap=True)


def make_view(console: Console) -> LiveView | LineView:
    """Return the view that suits the console."""
    return LiveView(console) if console.is_terminal and not console.is_dumb_terminal else LineView(console)


def line(state: State) -> str:
    """Return the state in one line."""
    if state.phase == "starting":
        return f"starting Ray, a router and the load generators; about {state.expected_s:.0f} s of load"
    counts = state.measured.counts
    recent = _recent(state)
    total = f"/{state.workload.streams:,}" if state.workload.streams is not None else ""
    parts = [
        f"{state.phase}: {counts['ended']:,}{total} streams ended, {state.open:,} open",
        f"{recent.counts['chunks'] / _recent_s(state):,.0f} chunks/s in",
        f"{recent.counts['messages'] / _recent_s(state):,.0f} messages/s out",
        f"added latency p50/p99 {_spread(recent.times.get('added_latency_ms'))}",
        f"wrong: {wrong(counts)}",
    ]
    return ", ".join(parts)


def wrong(counts: Mapping[str, int]) -> str:
    """Return what went wrong so far, in words."""
    return ", ".join(f"{counts[name]:,} {name}" for name in COUNTS if counts.get(name)) or "nothing"


def screen(state: State) -> Group:
    """Return the whole screen."""
    parts: list[Any] = [_head(state), _figures(state), _verdict(state)]
    if state.samples and state.samples[-1].memory_mb:
        parts.append(_processes(state))
    parts += [
        Text(f"{fault.at_s:6.1f} s  {_fault(fault)}", style="yellow", overflow="ellipsis", no_wrap=True)
        for fault in state.faults[-FAULTS_SHOWN:]
    ]
    return Group(*parts)


def _head(state: State) -> Table:
    """Return the first line: the name, a progress bar, how many streams have ended."""
    ended, total = state.measured.counts["ended"], state.workload.streams
    if total:
        share, of_total = ended / total, f"{ended:,}/{total:,} ended"
    else:
        share, of_total = min(state.elapsed_s / max(state.expected_s, 1e-9), 1.0), f"{ended:,} ended"
    head = Table.grid(expand=True, padding=(0, 1))
    head.add_column(no_wrap=True)
    head.add_column(ratio=1)
    head.add_column(no_wrap=True)
    head.add_row(
        Text(f"stream-router loadtest {state.workload.name}", style="bold"),
        ProgressBar(total=1.0, completed=share, complete_style="green", pulse=state.phase == "starting"),
        f"{of_total}  {state.open:,} open  {state.phase}  {state.elapsed_s:3.0f} s",
    )
    return head


def _figures(state: State) -> Table:
    """Return rates and times: now, over all, and by the second."""
    measured, recent = state.measured, _recent(state)
    table = Table(box=SIMPLE_HEAD, expand=True, pad_edge=False, padding=(0, 1), header_style="dim")
    table.add_column("", justify="left", no_wrap=True)
    table.add_column("now", justify="right", no_wrap=True)
    table.add_column("all", justify="right", no_wrap=True)
    table.add_column("each second of the last minute", ratio=1, no_wrap=True)
    bins = [one or Bin() for one in _last_bins(state, SPARK_BINS)]
    for title, name in (("chunks in /s", "chunks"), ("messages out /s", "messages")):
        rates = [one.counts[name] / measured.timeline.bin_s for one in bins]
        table.add_row(
            title, f"{recent.counts[name] / _recent_s(state):,.0f}", f"{measured.counts[name]:,}", _spark(rates)
        )
    times = (("first message, p50/p99", "time_to_first_message_ms"), ("added latency, p50/p99", "added_latency_ms"))
    for title, name in times:
        slow = [_slow_s(one.times.get(name)) for one in bins]
        table.add_row(title, _spread(recent.times.get(name)), _spread(measured.times.get(name)), _spark(slow))
    return table


def _slow_s(histogram: Histogram | None) -> float:
    return (histogram.percentile(0.99) if histogram is not None else None) or 0.0


def _verdict(state: State) -> Text:
    """Return the line that says what went wrong so far, and how much is under way."""
    counts = state.measured.counts
    found = wrong(counts)
    provider = f"   {counts['provider_errors']:,} provider errors" if counts["provider_errors"] else ""
    text = Text()
    text.append(f"wrong: {found}", style="green" if found == "nothing" else "bold red")
    text.append(
        f"   {state.actors} stream actors   {counts['credit_waits']:,} waits for credit{_unread(state)}{provider}",
        style="dim",
    )
    return text


def _fault(fault: Any) -> str:
    return f"{fault.kind} {fault.target or 'hit nothing'}" + (f" ({fault.detail})" if fault.detail else "")


def _unread(state: State) -> str:
    return f"   {state.queues[-1]['unread_bytes'] / 1e6:,.1f} MB unread" if state.queues else ""


def _processes(state: State) -> Table:
    """Return CPU and memory by role, always in the same order."""
    sample = state.samples[-1]
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim", style="dim")
    table.add_column("", no_wrap=True)
    for role in sorted(sample.memory_mb):
        table.add_column(role, justify="right", no_wrap=True)
    table.add_row("CPU, cores", *(f"{sample.cpu_cores.get(role, 0.0):.2f}" for role in sorted(sample.memory_mb)))
    table.add_row("memory, MB", *(f"{sample.memory_mb[role]:,.0f}" for role in sorted(sample.memory_mb)))
    return table


def _last_bins(state: State, count: int) -> list[Bin | None]:
    """Return the last whole bins of the time line."""
    timeline = state.measured.timeline
    last = int(state.elapsed_s / timeline.bin_s)
    return [timeline.bins.get(index) for index in range(max(0, last - count), max(last, 1))]


def _recent(state: State) -> Bin:
    """Return the last seconds as one."""
    total = Bin()
    for one in _last_bins(state, LAST_BINS):
        if one is not None:
            total.merge(one)
    return total


def _recent_s(state: State) -> float:
    return max(len(_last_bins(state, LAST_BINS)), 1) * state.measured.timeline.bin_s


def _spread(histogram: Histogram | None) -> str:
    if histogram is None or not histogram.total:
        return "-"
    halves = [1000 * (histogram.percentile(share) or 0.0) for share in (0.5, 0.99)]
    return " / ".join(f"{value:,.{1 if value < 100 else 0}f}" for value in halves) + " ms"  # noqa: PLR2004  # digits worth showing


def _spark(values: Sequence[float]) -> Text:
    top = max(values, default=0.0)
    if top <= 0:
        return Text("")
    bars = "".join(_BARS[min(int(value / top * len(_BARS)), len(_BARS) - 1)] if value > 0 else " " for value in values)
    return Text(bars, style="cyan")
