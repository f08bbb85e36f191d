"""`stream-router report`: the results of load tests for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

PANEL = "Load"
EXAMPLES = (
    "stream-router report a.json",
    "stream-router report a.json b.json --html ab.html",
)


def command(
    first: Annotated[Path, typer.Argument(metavar="A.json", help="What `loadtest --json` wrote.")],
    second: Annotated[
        Path | None, typer.Argument(metavar="B.json", help="A second one, to compare the first with.")
    ] = None,
    html_file: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the report there.")] = None,
) -> None:
    """Make the report of a load test from its figures, or compare two of them.

    One file alone: its report (into A.html, if --html does not say otherwise). Two: a table of what became better and
    worse; with --html, plots of both as well.
    """
    from rich.console import Console

    from router.loadtest import report, results
    from router.loadtest.comparison import compare, differences_in_workload
    from router.runs.whole_file import write_whole

    found = results.load_results(first)
    console = Console()
    if second is None:
        html_file = html_file or first.with_suffix(".html")
        write_whole(html_file, report.to_html(found))
        console.print(f"written: {html_file}", highlight=False)
        return
    other = results.load_results(second)
    names = (first.stem, second.stem) if first.stem != second.stem else (str(first), str(second))
    rows = compare(found, other)
    differences = differences_in_workload(found, other)
    _show(console, names, rows, differences)
    if html_file is not None:
        write_whole(html_file, report.to_comparison(found, other, names, rows, differences))
        console.print(f"written: {html_file}", highlight=False)


def _show(console: Console, names: tuple[str, str], rows: list[tuple[Any, ...]], differences: list[str]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("figure", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("change", justify="right", no_wrap=True)
    styles = {"better": "green", "worse": "red"}
    for name, before, after, change, verdict in rows:
        table.add_row(name, before, after, f"[{styles[verdict]}]{change}[/]" if verdict in styles else change)
    console.print(table)
    if differences:
        console.print("The workloads differ:", style="yellow")
        for text in differences:
            console.print(f"  {escape(text)}", highlight=False, soft_wrap=True)
