"""`stream-router provider`: recorded streams over HTTP, as a tool of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PANEL = "Providers"
EXAMPLES = (
    "stream-router provider --port 8080 --events-per-s 30 --jitter 0.5",
    "stream-router provider --recordings my-recordings --set cut_after=20 --set fault_rate=0.1",
    'curl -N \'http://127.0.0.1:8080/v1/chat/completions?stall_s=3\' -d \'{"model": "openai-tool-2", "stream": true}\'',
)


def command(
    recordings: Annotated[
        Path | None, typer.Option(help="Folder of recordings (*.sse, with an index.json or without); else the demo's.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 8080,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    events_per_s: Annotated[float, typer.Option(help="Pace of each stream; 0: as fast as the line takes it.")] = 20.0,
    jitter: Annotated[
        float, typer.Option(help="0: an even pace; 1: waits between nothing and twice the even one.")
    ] = 0.0,
    speed: Annotated[float, typer.Option(help="All waits are divided by this.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of all random choices.")] = 0,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting of a script (see above).")
    ] = None,
) -> None:
    """Serve recorded streams like a model provider: OpenAI chat and Responses, Anthropic, Gemini.

    A request's model picks the recording (by its name, or by its model's), else any of the route's kind, in turn.

    Every setting can be changed for one request, by query (?stall_s=2&cut_after=5) or by the header
    "x-script: stall_s=2&cut_after=5": events_per_s, speed, jitter, first_event_s, stall_s, stall_after,
    split_bytes_max, status, status_body (json, html, empty), retry_after_s, cut_after, error_after, omit_done,
    fault_rate, fail_first, seed.
    """
    import asyncio

    from rich.console import Console

    from router.cli.options import parse_sets
    from router.demo import RECORDINGS
    from router.scripted_provider import Library, Script, serve

    library = Library.load(recordings or RECORDINGS)
    given = {"events_per_s": events_per_s, "jitter": jitter, "speed": speed, "seed": seed}
    script = Script.load(given, parse_sets(set_ or []))
    console = Console(stderr=True)

    async def run() -> None:
        async with serve(library, script, host=host, port=port) as url:
            console.print(f"{len(library.recordings)} recordings on [bold]{url}[/]; Ctrl-C ends it")
            for api, path in (
                ("openai-chat", "/v1/chat/completions"),
                ("openai-responses", "/v1/responses"),
                ("anthropic-messages", "/v1/messages"),
                ("gemini", "/v1beta/models/{model}:streamGenerateContent"),
            ):
                names = [recording.name for recording in library.recordings.values() if recording.api == api]
                if names:
                    console.print(f"  POST {path}  [dim]{', '.join(names)}[/]", highlight=False)
            await asyncio.Event().wait()

    asyncio.run(run())
