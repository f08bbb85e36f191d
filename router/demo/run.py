"""The demo from start to end: a Ray, a provider process, agents that publish, readers elsewhere, a check."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from rich.console import Console

from router import StreamRouter
from router.config import RouterConfig
from router.demo import RECORDINGS
from router.demo.agents import Agent, Published, make_agents, publish
from router.demo.board import Board, Row
from router.demo.figures import Figures, completing_chunks, spread
from router.demo.readers import Readers, Received
from router.demo.recorded_content import differences, order_errors, recorded
from router.demo.view import make_view
from router.on_ray.signals import end_in_order_on_termination
from router.scripted_provider import Library, provider_process
from router.sources.http import HttpSource

VIEW_EVERY_S = 0.2
CONNECT_TIMEOUT_S = 60.0
# Each stream that is followed is a call that runs until its end.
CONCURRENCY_MAX = 100_000


@dataclass
class Outcome:
    """The outcome of one request. `mismatches` is empty where the reader got what the recording says."""

    row: Row
    received: Received | None
    mismatches: list[str]


async def run_demo(
    config: str | Path | RouterConfig, console: Console, *, agents: int, speed: float, seed: int = 0
) -> tuple[Figures, list[Outcome]]:
    """Run the demo and return its figures and the outcome of each request.

    Raises StreamRouterError where it cannot be run at all; a request that goes wrong is an outcome.
    """
    started = time.perf_counter()
    library = Library.load(RECORDINGS)
    planned = make_agents(list(library.recordings.values()), agents, speed, seed)
    chunks_of = {agent.recording.name: completing_chunks(agent.recording) for agent in planned}
    board = Board([Row(agent, Published(), chunks_of[agent.recording.name]) for agent in planned])
    # A demo leaves nothing behind, also on a cluster.
    config = RouterConfig.load(config).model_copy(update={"detached": False})
    console.print("Starting Ray, a router and a scripted provider ...", style="dim")
    async with (
        provider_process(RECORDINGS) as url,
        StreamRouter.start(config) as router,
        _readers(config) as readers,
        HttpSource(url) as source,
    ):
        end_in_order_on_termination()
        await router.warm()
        received = await _stream(planned, board, router, readers, source, console)
        board.actors = len((await router.describe()).stream_actors)
    outcomes = [
        Outcome(row, got, _check(row.agent, row.published, got))
        for row, got in zip(board.rows.values(), received, strict=True)
    ]
    wrong = sum(bool(outcome.mismatches) for outcome in outcomes)
    figures = Figures(
        streams=len(outcomes),
        messages=board.messages,
        verified=len(outcomes) - wrong,
        mismatched=wrong,
        chunks_per_s=round(board.chunks_per_s(), 1),
        time_to_first_message_ms=spread(board.first_message_s()),
        added_latency_ms=spread(board.added_latencies_s),
        actors=board.actors,
        wall_s=round(time.perf_counter() - started, 2),
    )
    return figures, outcomes


async def _stream(
    agents: Sequence[Agent], board: Board, router: StreamRouter, readers: Any, source: HttpSource, console: Console
) -> list[Received | None]:
    """Run all agents to their ends, showing how it goes."""

    async def one(agent: Agent) -> Received | None:
        record = board.rows[agent.request_id].published
        following = await publish(agent, source, router, record, readers.follow.remote)
        return None if following is None else await following

    started = time.perf_counter()
    tasks = [asyncio.create_task(one(agent)) for agent in agents]
    try:
        with make_view(console) as view:
            described_s = 0.0
            while True:
                _, running = await asyncio.wait(tasks, timeout=VIEW_EVERY_S)
                elapsed_s = time.perf_counter() - started
                ended = board.update(await readers.progress.remote(), time.time())
                if elapsed_s - described_s > 1:
                    described_s = elapsed_s
                    board.actors = len((await router.describe()).stream_actors)
                view.show(board, ended, elapsed_s, time.time())
                if not running:
                    return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _readers(config: RouterConfig) -> AsyncIterator[Any]:
    """Start the readers in a process of their own and connect them to the router by its name."""
    make: Any = ray.remote(Readers)  # Ray's types do not know `options` of a class that is given so
    handle = make.options(num_cpus=0, max_concurrency=CONCURRENCY_MAX).remote(config.name, config.namespace)
    try:
        await asyncio.wait_for(handle.connect.remote(), CONNECT_TIMEOUT_S)
        yield handle
        await handle.close.remote()
    finally:
        ray.kill(handle)


def _check(agent: Agent, published: Published, got: Received | None) -> list[str]:
    """Return what is wrong with what a reader got, in words, by reading the recording anew."""
    found = [f"publisher: {published.error}"] if published.error else []
    if got is None:
        return [*found, "it was never opened"]
    if got.error:
        found.append(f"reader: {got.error}")
    found += order_errors(got.seq_ids, got.terminals)
    return found + differences(recorded(agent.recording.body, agent.recording.api), got.content)
