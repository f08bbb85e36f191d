"""`stream-router query`: SQL over the archive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from router.archive.query import Answer

PANEL = "Service"
EXAMPLES = (
    'stream-router query "select stop_reason, count(*) from requests group by 1" --folder /var/lib/agents',
    "stream-router query \"select text from messages where tool_name = 'search'\" --config service.yaml",
)


def command(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="Of the tables requests and messages; docs/archive.md.")],
    folder: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="The archive: a path, or an address that fsspec knows.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="Or the configuration of the service that it is of.")
    ] = None,
    format_: Annotated[Literal["table", "json", "csv"], typer.Option("--format", help="json: a line a row.")] = "table",
) -> None:
    """Ask the archive: `requests` has a row a request, `messages` a row a message, each once.

    The archive is what `archive:` of a service's configuration names. It is read as it is, without the service. Needs
    the extra `archive`.
    """
    from actors.errors import ConfigError
    from router.archive.query import query
    from router.config import load_config

    archive = None if config is None else load_config(config).archive
    where = folder or (None if archive is None else archive.folder)
    if where is None:
        raise ConfigError("which archive? Give --folder, or a --config whose archive.folder is set")
    _show(query(sql, where, None if archive is None else archive.options), format_)


def _show(answer: Answer, format_: str) -> None:
    import csv
    import json
    import sys

    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    from router.cli.terminal import make_console

    if format_ == "json":
        for row in answer.rows:
            typer.echo(json.dumps(dict(zip(answer.columns, row, strict=True)), ensure_ascii=False, default=str))
    elif format_ == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(answer.columns)
        writer.writerows(answer.rows)
    else:
        table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
        for column in answer.columns:
            table.add_column(escape(column))
        for row in answer.rows:
            table.add_row(*("" if value is None else escape(str(value)) for value in row))
        make_console(PLAIN_WIDTH).print(table)


PLAIN_WIDTH = 160
