"""`stream-router loadtest`: load, faults, figures, a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.cli.options import ConnectAddress

if TYPE_CHECKING:
    from rich.console import Console

PANEL = "Load"
EXAMPLES_SHOWN_MAX = 5
PLAIN_WIDTH = 140
EXAMPLES = (
    "stream-router loadtest quick",
    "stream-router loadtest my.yaml --json a.json --csv a.csv --html a.html",
    "stream-router loadtest chaos --streams 100 --chaos kill-router:1,kill-stream-actor:2 --html chaos.html",
    "stream-router loadtest quick --connect agents --address head:6379 --set arrival.rate_per_s=20",
)


Config = Annotated[
    str,
    typer.Argument(metavar="CONFIG", help="A workload in YAML, or a packaged one by name: quick, steady, chaos."),
]
Chaos = Annotated[
    str | None,
    typer.Option(
        metavar="KIND:N,...",
        help="Faults at random times: kill-stream-actor:2, kill-router:1, kill-node:1, stop-actor:1, "
        "rpc-failures:0.05, joined by commas; 'none': none.",
    ),
]
Streams = Annotated[int | None, typer.Option(min=1, help="So many streams, whatever the workload says.")]
Seed = Annotated[int | None, typer.Option(help="Of all random choices.")]
Connect = Annotated[
    str | None, typer.Option(metavar="NAME", help="Put this running service under load, not a router of its own.")
]
JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="All figures, and the series.")]
CsvFile = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="The series, a row a second.")]
HtmlFile = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="The report, one file.")]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="One key of the workload, dotted (arrival.rate_per_s=50); repeatable."
    ),
]


def command(
    config: Config,
    chaos: Chaos = None,
    streams: Streams = None,
    seed: Seed = None,
    connect: Connect = None,
    address: ConnectAddress = None,
    json_file: JsonFile = None,
    csv_file: CsvFile = None,
    html_file: HtmlFile = None,
    set_: Sets = None,
) -> int:
    """Put a router, a provider or an agent fleet under load, and count what is lost, doubled, reordered or wrong.

    Each reader's order, text, reasoning and tool calls are checked against an independent reading of the recording.
    What a workload can say: docs/loadtest.md.

    Exit status: 0 all thresholds of the workload met, 3 one breached, 2 it could not be run, 130 interrupted (the
    results so far are written).
    """
    import asyncio

    from router.cli import exit_codes
    from router.cli.options import check_writable, parse_sets
    from router.cli.terminal import make_console, ray_kept_quiet
    from router.loadtest import report, results
    from router.loadtest.runner import run_loadtest
    from router.loadtest.view import make_view
    from router.loadtest.workload import Workload

    given: dict[str, Any] = {"streams": streams, "seed": seed, "router.address": address}
    changes = {key: value for key, value in given.items() if value is not None}
    if connect is not None:
        # Replaces the workload's whole router section, which describes a router that the test would start.
        changes = {"router": {"connect": connect}, **changes}
    if chaos is not None:
        changes["chaos.faults"] = {} if chaos == "none" else chaos
    workload = Workload.load(config, {**changes, **parse_sets(set_ or [])})
    check_writable(json_file, csv_file, html_file)
    console = make_console(PLAIN_WIDTH)
    with ray_kept_quiet(), make_view(console) as view:
        found = asyncio.run(run_loadtest(workload, view))
    _summarise(console, found)
    _write(console, found, ((json_file, results.to_json), (csv_file, results.to_csv), (html_file, report.to_html)))
    if found["interrupted"]:
        return exit_codes.INTERRUPTED
    return exit_codes.OK if found["met"] else exit_codes.THRESHOLD


def _write(console: Console, found: dict[str, Any], files: tuple[tuple[Path | None, Any], ...]) -> None:
    """Write what was asked for. Raises OSError once all was tried: where the disk is full, a smaller file may fit."""
    from router.runs.whole_file import write_whole

    failed: OSError | None = None
    for file, make in files:
        if file is None:
            continue
        try:
            write_whole(file, make(found))
        except OSError as error:
            failed = failed or error
        else:
            console.print(f"written: {file}", style="dim", highlight=False)
    if failed is not None:
        raise failed


def _summarise(console: Console, found: dict[str, Any]) -> None:
    from rich.markup import escape

    from router.cli.terminal import some
    from router.loadtest.report import cores_busy, how_read
    from router.loadtest.view import wrong

    console.print(_times(found))
    console.print(
        f"{some(found['streams'], 'stream')}, at most {found['streams_open_max']:,} at once, through "
        f"{some(found['actors'], 'stream actor')} in {found['wall_s']:.0f} s, {how_read(found)}\n"
        f"{found['chunks']:,} chunks in ({found['chunks_per_s']:,.0f}/s), {found['messages']:,} messages out "
        f"({found['messages_per_s']:,.0f}/s), {cores_busy(found)} cores busy, "
        f"{found['credit_waits']:,} waits for credit",
        highlight=False,
    )
    for fault in found["faults"]:
        text = f"{fault['at_s']:6.1f} s  {fault['kind']}  {fault['target'] or 'hit nothing'}  {fault['detail']}"
        console.print(escape(text), style="yellow", highlight=False, soft_wrap=True)
    for kind, count in found["errors"].items():
        console.print(f"{count:,} x {escape(kind)}", style="yellow", highlight=False)
    for text in found["examples"][:EXAMPLES_SHOWN_MAX]:
        console.print(escape(text), style="red", soft_wrap=True, highlight=False)
    if len(found["examples"]) > EXAMPLES_SHOWN_MAX:
        console.print("... and more of that kind; --json and --html have them", style="red", highlight=False)
    if any(found["counts"].values()):
        console.print(f"[bold red]{wrong(found['counts'])}[/]", highlight=False)
    else:
        right = f"nothing lost, duplicated, reordered or unverified in {some(found['readings'], 'reading')}"
        console.print(f"[bold green]{right}[/]", highlight=False)
    for limit in found["thresholds"]:
        sides = (("at least", limit["min"]), ("at most", limit["max"]))
        bounds = " and ".join(f"{word} {bound:g}" for word, bound in sides if bound is not None)
        mark = "[green]met[/]     " if limit["met"] else "[bold red]breached[/]"
        console.print(f"{mark}  {limit['name']}: {_shown(limit['value'])} ({bounds})", highlight=False)


def _times(found: dict[str, Any]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from router.loadtest.figure_names import TIMES

    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("milliseconds", no_wrap=True)
    parts = ("p50", "p90", "p99", "p99_9", "max", "count")
    for part in parts:
        table.add_column(part.replace("_", "."), justify="right", no_wrap=True)
    for name, title in TIMES.items():
        if found[name]["count"]:
            table.add_row(title, *(_shown(found[name][part]) for part in parts))
    return table


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.{0 if value >= 100 or value == int(value) else 1}f}"  # noqa: PLR2004  # digits worth showing
