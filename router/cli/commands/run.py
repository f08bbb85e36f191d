"""`stream-router run`: requests from a file to a real provider, messages to a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import typer

from router.cli.options import ConnectAddress

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from router.runs.requests import Request
    from router.runs.runner import Totals

PANEL = "Load"
PLAIN_WIDTH = 120
EXAMPLES = (
    "stream-router run requests.jsonl --base-url https://api.example.com/v1 --model some-model --key-env MY_KEY",
    "stream-router run requests.jsonl --config run.yaml --out answers.jsonl --concurrency 64",
    "stream-router run requests.jsonl --config run.yaml --connect agents --address head:6379",
)


Requests = Annotated[
    Path, typer.Argument(metavar="REQUESTS.jsonl", help="Each line a request: prompt or messages, model, tools.")
]
Config = Annotated[
    Path | None, typer.Option(metavar="FILE.yaml", help="Endpoint, concurrency, retries, stream settings.")
]
Out = Annotated[Path | None, typer.Option(metavar="FILE.jsonl", help="The messages; else REQUESTS.messages.jsonl.")]
BaseUrl = Annotated[str | None, typer.Option(help="Of the provider, as its own SDK takes it.")]
Api = Annotated[
    Literal["openai-chat", "openai-responses", "anthropic-messages", "gemini"] | None,
    typer.Option(help="Which API it speaks; openai-chat if nothing says otherwise."),
]
Model = Annotated[str | None, typer.Option(help="For requests that name none.")]
KeyEnv = Annotated[str | None, typer.Option(metavar="NAME", help="The environment variable that holds the key.")]
Concurrency = Annotated[int | None, typer.Option(min=1, help="Requests under way at a time.")]
Connect = Annotated[
    str | None, typer.Option(metavar="NAME", help="Use this running service instead of a router of its own.")
]
Format = Annotated[
    Literal["jsonl", "parquet"],
    typer.Option(
        "--format", help="parquet: the messages also as one Parquet file beside FILE.jsonl; needs the extra archive."
    ),
]
JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the totals there.")]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="One key of the configuration, dotted (retries.attempts=1); repeatable."
    ),
]


def command(
    requests: Requests,
    config: Config = None,
    out: Out = None,
    base_url: BaseUrl = None,
    api: Api = None,
    model: Model = None,
    key_env: KeyEnv = None,
    concurrency: Concurrency = None,
    connect: Connect = None,
    address: ConnectAddress = None,
    json_file: JsonFile = None,
    format_: Format = "jsonl",
    set_: Sets = None,
) -> int:
    """Ask a provider many things at once and keep every message of every answer.

    A line of the file: {"id": "r-1", "prompt": "Hello", "model": "m"}, or messages and tools as in OpenAI's chat API,
    whatever the provider's own API is; all keys: docs/loadtest.md.

    A second run goes on where the first stopped: requests that are complete in the output are not asked again.
    Failed requests are asked again before their first chunk only, with growing pauses, and as Retry-After says.

    Exit status: 0 all requests complete, 1 some failed (they are asked again by the next run), 2 it could not be run,
    130 interrupted (what came is kept).
    """
    import asyncio

    from router.archive.table import need_archive
    from router.cli import exit_codes
    from router.cli.options import check_writable, parse_sets
    from router.cli.terminal import make_console, ray_kept_quiet
    from router.runs.config import RunConfig
    from router.runs.output import Output
    from router.runs.parquet import write_parquet
    from router.runs.runner import run

    endpoint = {"base_url": base_url, "api": api, "model": model, "key_env": key_env}
    given: dict[str, str | int | None] = {f"endpoint.{key}": value for key, value in endpoint.items()}
    given |= {"concurrency": concurrency, "connect": connect, "address": address}
    given = {key: value for key, value in given.items() if value is not None}
    loaded = RunConfig.load(config, {**parse_sets(set_ or []), **given})
    parsed = _read_requests(requests)
    check_writable(json_file)
    if format_ == "parquet":
        need_archive()
    console = make_console(PLAIN_WIDTH)
    file = out or requests.with_name(f"{requests.stem}.messages.jsonl")
    with Output(file) as output, ray_kept_quiet(), _Progress(console, len(parsed)) as progress:
        totals = asyncio.run(run(loaded, parsed, output, progress.show))
    _summarise(console, totals, file)
    _write_totals(totals, json_file)
    if format_ == "parquet":
        write_parquet(file, file.with_suffix(".parquet"))
        console.print(f"messages: {file.with_suffix('.parquet')}", style="dim", highlight=False, markup=False)
    if totals.interrupted:
        return exit_codes.INTERRUPTED
    return exit_codes.MISMATCH if totals.failed else exit_codes.OK


def _read_requests(file: Path) -> list[Request]:
    """Return the requests of a file. Raises ConfigError."""
    from actors.errors import ConfigError
    from router.runs.requests import parse_requests

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from None
    return parse_requests(text, str(file))


def _write_totals(totals: Totals, file: Path | None) -> None:
    import json

    from router.runs.whole_file import write_whole

    if file is not None:
        write_whole(file, json.dumps(totals.as_dict(), indent=1) + "\n")


LINES_EVERY_S = 2.0


class _Progress:
    """A progress bar in a terminal; a line now and then elsewhere."""

    def __init__(self, console: Console, count: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = console
        self._next_s = 0.0
        self._bar: Progress | None = None
        self._task: Any = None
        if console.is_terminal:
            columns = (
                BarColumn(bar_width=40),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.description}"),
            )
            self._bar = Progress(*columns, console=console, transient=True, redirect_stdout=False)
            self._task = self._bar.add_task("starting", total=count)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def show(self) -> Callable[[Totals], None]:
        """What `run` calls now and then."""
        import time

        from rich.markup import escape

        def show(totals: Totals) -> None:
            done = totals.skipped + totals.complete + totals.failed
            said = f"{totals.running} under way, {totals.messages:,} messages, {totals.completion_tokens:,} tokens"
            if totals.failed:
                said += f", {totals.failed} failed"
            if totals.retries:
                said += f", {totals.retries} retries"
            if self._bar is not None:
                self._bar.update(self._task, completed=done, description=escape(said))
            elif time.monotonic() >= self._next_s:
                self._next_s = time.monotonic() + LINES_EVERY_S
                self._console.print(f"{done}/{totals.requests} done, {said}", highlight=False)

        return show


def _summarise(console: Console, totals: Totals, file: Path) -> None:
    from rich.markup import escape

    before = f" ({totals.skipped:,} of them before)" if totals.skipped else ""
    console.print(
        f"{totals.complete + totals.skipped:,} of {totals.requests:,} requests complete{before}; "
        f"{totals.messages:,} messages of {totals.chunks:,} chunks, "
        f"{totals.prompt_tokens:,} tokens in and {totals.completion_tokens:,} out, "
        f"{totals.retries:,} retries, {totals.wall_s:.1f} s",
        highlight=False,
    )
    if any(kind in totals.errors for kind in ("status 401", "status 403")):
        console.print("[yellow]the provider refuses the key: check --key-env (endpoint.key_env), and the model[/]")
    for kind, count in totals.errors.most_common():
        console.print(
            f"[red]{count:,} x {escape(kind)}[/]: {escape(totals.examples.get(kind, ''))}",
            soft_wrap=True,
            highlight=False,
        )
    console.print(f"messages: {escape(str(file))}", style="dim", highlight=False)
    if totals.interrupted:
        console.print("[yellow]interrupted; run the same command again to go on[/]")
