"""Run some streams through a router on a Ray of its own, and write what Prometheus would get to stdout.

A program of its own, since it needs a Ray with another configuration than the tests share.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import ray

from actors.errors import RequestCancelled, RequestEnded
from router import StreamRouter
from router.config import RouterConfig

DEADLINE_S = 90.0
WORD = {"id": "c1", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "word "}}]}
FINISH = {
    "id": "c1",
    "object": "chat.completion.chunk",
    "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
}


async def publish(router: StreamRouter, request_id: str, words: int) -> None:
    async with router.publish(request_id, {"dialect": "chat"}) as stream:
        for _ in range(words):
            await stream.chunk(WORD)
        await stream.chunk(FINISH)


async def run() -> None:
    async with StreamRouter.start(
        RouterConfig.model_validate({"name": "scraped", "metrics": {"interval_s": 0.5}})
    ) as router:
        await asyncio.gather(*(publish(router, f"req-{n}", 10) for n in range(5)))
        with suppress(RequestEnded):
            await publish(router, "req-0", 1)
        with suppress(RequestCancelled):
            async with router.publish("req-cancelled") as stream:
                await stream.chunk(WORD)
                await router.cancel("req-cancelled")
                await asyncio.sleep(DEADLINE_S)
        async with router.publish("req-own-words") as stream:
            await stream.finish("because I say so")
        async with router.publish("req-open") as stream:
            await stream.chunk(WORD)
            await asyncio.to_thread(scrape)


def scrape() -> None:
    """Save the page as soon as it shows what was done last: into a file, for Ray may say things on stdout."""
    deadline = time.monotonic() + DEADLINE_S
    page = ""
    while time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
            page = response.read().decode()
        if 'reason="other"' in page and "ray_stream_router_first_message_seconds_bucket" in page:
            Path(sys.argv[1]).write_text(page, encoding="utf-8")
            return
        time.sleep(0.5)
    sys.exit(f"no metrics of ours within {DEADLINE_S} s: {page[-500:]}")


with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
ray.init(
    address="local",
    num_cpus=2,
    include_dashboard=False,
    log_to_driver=False,
    configure_logging=False,
    _metrics_export_port=port,
    _system_config={"metrics_report_interval_ms": 1000},
)
asyncio.run(run())
ray.shutdown()
