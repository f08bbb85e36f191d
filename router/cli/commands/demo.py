"""`stream-router demo`: the product at work, in one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PANEL = "See it work"
EXAMPLES = (
    "stream-router demo",
    "stream-router demo --agents 200 --speed 4",
)
PLAIN_WIDTH = 120


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
    from router.demo.summary import print_summary

    loaded = load_config(config)
    # A file that cannot be written must fail before the run, not after it.
    if json_file is not None:
        json_file.touch()
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    figures, outcomes = asyncio.run(run_demo(loaded, console, agents=agents, speed=speed, seed=seed))
    print_summary(console, figures, outcomes)
    if json_file is not None:
        json_file.write_text(json.dumps(figures.as_dict(), indent=2) + "\n")
    return exit_codes.MISMATCH if figures.mismatched else exit_codes.OK
