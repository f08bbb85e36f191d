"""`stream-router demo`: the product at work, in one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from router.demo.figures import Figures
    from router.demo.run import Outcome

PANEL = "See it work"
ROWS_MAX = 40


def command(
    agents: Annotated[int, typer.Option(min=1, max=20_000, help="Concurrent agent requests.")] = 24,
    speed: Annotated[float, typer.Option(min=0.01, help="2: twice as fast as the recordings' human pace.")] = 1.0,
    config: Annotated[str, typer.Option(help="A configuration file, or a packaged one by name.")] = "local",
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there.")] = None,
    seed: Annotated[int, typer.Option(help="Of pace, jitter and stalls.")] = 0,
) -> int:
    """Watch recorded provider streams go through a router to live readers, then check every one of them.

    Starts a Ray of its own, a scripted provider that serves recorded streams over HTTP, agents that read it and
    publish, and readers in another process. Exit status 0 only if every reader's text, reasoning and tool calls
    equal the recording, 1 if one does not.
    """
    import asyncio
    import json

    from rich.console import Console

    from router.cli import exit_codes
    from router.config import load_config
    from router.demo.run import run_demo

    loaded = load_config(config)
    # The figures are all a run leaves behind: that they cannot be written should be said before it.
    if json_file is not None:
        json_file.touch()
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    figures, outcomes = asyncio.run(run_demo(loaded, console, agents=agents, speed=speed, seed=seed))
    _summarise(console, figures, outcomes)
    if json_file is not None:
        json_file.write_text(json.dumps(figures.as_dict(), indent=2) + "\n")
    return exit_codes.MISMATCH if figures.mismatched else exit_codes.OK


def _summarise(console: Console, figures: Figures, outcomes: list[Outcome]) -> None:
    from rich.markup import escape
    from rich.table import Table

    wrong = [outcome for outcome in outcomes if outcome.mismatches]
    shown = outcomes if len(outcomes) <= ROWS_MAX else wrong[:ROWS_MAX]
    if shown:
        table = Table(header_style="bold", border_style="dim", pad_edge=False)
        for heading in ("request", "provider/model", "end"):
            table.add_column(heading, no_wrap=True, overflow="ellipsis")
        for heading in ("chunks", "messages", "text", "reasoning", "tool calls"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("as recorded", justify="center", no_wrap=True)
        for outcome in shown:
            got = outcome.received
            table.add_row(
                outcome.row.agent.request_id,
                outcome.row.agent.model,
                (got.stop_reason if got else None) or "-",
                str(len(outcome.row.published.handed_at)),
                str(outcome.row.messages),
                *(
                    (f"{len(got.content.text):,}", f"{len(got.content.reasoning):,}", str(len(got.content.calls)))
                    if got
                    else "---"
                ),
                "[bold red]no[/]" if outcome.mismatches else "[green]yes[/]",
            )
        console.print(table)
    for outcome in wrong[:ROWS_MAX]:
        console.print(f"[red]{outcome.row.agent.request_id}[/] {escape('; '.join(outcome.mismatches))}", soft_wrap=True)
    console.print(
        f"{figures.messages:,} messages of {figures.streams:,} streams through {figures.actors} stream actors "
        f"in {figures.wall_s:.1f} s; {figures.chunks_per_s:,.0f} chunks/s while they ran\n"
        f"time to first message, provider included, p50 / p99: {figures.time_to_first_message_ms}\n"
        f"added latency, publish to reader, p50 / p99: {figures.added_latency_ms}",
        highlight=False,
    )
    if figures.mismatched:
        console.print(f"[bold red]{figures.mismatched} of {figures.streams} streams differ from their recordings[/]")
    else:
        console.print(f"[bold green]all {figures.streams} streams verified against their recordings[/]")
