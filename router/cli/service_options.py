"""Options that the commands for a running service share: how it is named and found."""

from __future__ import annotations

from typing import Annotated

import typer

PANEL = "Service"

Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help="The Ray cluster; else RAY_ADDRESS, else the one this machine belongs to.",
    ),
]
Name = Annotated[str, typer.Option("--name", help="The service's name.")]
Namespace = Annotated[str, typer.Option("--namespace", help="Its Ray namespace.")]
WaitS = Annotated[float, typer.Option("--wait-s", min=0.1, help="How long to wait for its answer.")]

DEFAULT_NAME = "agents"
DEFAULT_NAMESPACE = "agent-stream-router"
DEFAULT_WAIT_S = 15.0
