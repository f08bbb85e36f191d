"""The demo's summary: a row an agent, what differs, and the figures."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from router.demo.figures import Figures
from router.demo.run import Outcome

ROWS_MAX = 40
# Below it, the models' names would have no room beside all counts.
WIDE_CELLS = 110
_COUNTS = ("chunks", "msgs", "text", "reasoning", "calls")
_NOT_IN_NARROW = ("chunks", "calls")


def print_summary(console: Console, figures: Figures, outcomes: list[Outcome]) -> None:
    """Print the summary. Of many agents, only those whose stream differs get a row."""
    wrong = [outcome for outcome in outcomes if outcome.mismatches]
    shown = outcomes if len(outcomes) <= ROWS_MAX else wrong[:ROWS_MAX]
    if shown:
        table = _table(shown, is_narrow=console.width < WIDE_CELLS)
        console.print(table)
    for outcome in wrong[:ROWS_MAX]:
        console.print(
            f"[red]{outcome.row.agent.request_id}[/]: {escape('; '.join(outcome.mismatches))}", soft_wrap=True
        )
    console.print(
        f"{figures.messages:,} messages of {figures.streams:,} streams through {figures.actors} stream actors "
        f"in {figures.wall_s:.1f} s, {figures.chunks_per_s:,.0f} chunks/s while they ran\n"
        f"p50 / p99: time to first message, provider included, {figures.time_to_first_message_ms}; "
        f"added latency, publish to reader, {figures.added_latency_ms}",
        highlight=False,
    )
    if figures.mismatched:
        console.print(f"[bold red]{figures.mismatched} of {figures.streams:,} streams are not as recorded[/]")
    else:
        console.print(f"[bold green]all {figures.streams:,} streams verified against their recordings[/]")


def _table(outcomes: list[Outcome], *, is_narrow: bool) -> Table:
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, expand=is_narrow)
    table.add_column("request", no_wrap=True)
    table.add_column("provider/model", no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column("end", no_wrap=True)
    counts = [heading for heading in _COUNTS if not (is_narrow and heading in _NOT_IN_NARROW)]
    for heading in counts:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verified", no_wrap=True)
    for outcome in outcomes:
        values = _counts(outcome)
        stop_reason = outcome.received.stop_reason if outcome.received is not None else None
        table.add_row(
            outcome.row.agent.request_id,
            outcome.row.agent.model,
            stop_reason or "-",
            *(values[heading] for heading in counts),
            "[bold red]no[/]" if outcome.mismatches else "[green]yes[/]",
        )
    return table


def _counts(outcome: Outcome) -> dict[str, str]:
    """Return the cells of `_COUNTS`; "-" for what nothing is known of, since nothing was read."""
    counts = {
        "chunks": f"{len(outcome.row.published.handed_at):,}",
        "msgs": f"{outcome.row.messages:,}",
    }
    if outcome.received is None:
        return {**counts, "text": "-", "reasoning": "-", "calls": "-"}
    content = outcome.received.content
    return {
        **counts,
        "text": f"{len(content.text):,}",
        "reasoning": f"{len(content.reasoning):,}",
        "calls": f"{len(content.calls):,}",
    }
