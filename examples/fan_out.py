"""One request, several readers: two live, one slow, one in another process, one that comes back, one that comes late.

    python examples/fan_out.py

Readers do not share anything: each has its own cursor, and reading takes nothing away from the others.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

import ray

from router import StreamRouter
from router.config import RouterConfig

REQUEST_ID = "fan-out"
WORDS = [f"word-{n} " for n in range(400)]
PACE_S = 0.003
SLOW_S = 0.01
BREAK_S = 0.1
OPEN_WAIT_S = 60.0


def chunk(content: str | None, finish_reason: str | None = None) -> dict[str, object]:
    """Return an OpenAI chat-completion chunk."""
    delta = {} if content is None else {"content": content}
    return {
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }


async def says_it() -> AsyncIterator[dict[str, object]]:
    """Say all words: the agent, which runs in a process of its own."""
    for word in WORDS:
        yield chunk(word)
        await asyncio.sleep(PACE_S)
    yield chunk(None, "stop")


async def read(router: StreamRouter, *, after: int = 0, pause_s: float = 0.0) -> str:
    """Read all behind a message; with `pause_s`, slowly."""
    text = ""
    async for message in router.messages(REQUEST_ID, after=after, coalesce="tokens", wait_s=OPEN_WAIT_S):
        if message.message_type == "assistant_message":
            text += str(message.content)
            await asyncio.sleep(pause_s)
    return text


async def read_with_a_break(router: StreamRouter) -> str:
    """Read a part, go away, and go on behind the last message: as a browser does that lost its connection."""
    text, last = "", 0
    async for message in router.messages(REQUEST_ID, coalesce="tokens", wait_s=OPEN_WAIT_S):
        if message.message_type == "assistant_message":
            text += str(message.content)
        last = message.seq_id or last
        if len(text) > sum(map(len, WORDS)) // 3:
            break
    await asyncio.sleep(BREAK_S)
    return text + await read(router, after=last)


@ray.remote(num_cpus=0)
def read_elsewhere(router: StreamRouter) -> str:
    """Read it in another process: a router that is passed there connects by itself."""

    async def run() -> str:
        try:
            return await read(router)
        finally:
            await router.close()

    return asyncio.run(run())


async def main() -> None:
    """Start everything, and compare what each reader saw."""
    async with StreamRouter.start(RouterConfig.model_validate({"name": "fan-out"})) as router:
        readers = {
            "live": asyncio.create_task(read(router)),
            "live too": asyncio.create_task(read(router)),
            "slow": asyncio.create_task(read(router, pause_s=SLOW_S)),
            "with a break": asyncio.create_task(read_with_a_break(router)),
            "in another process": asyncio.ensure_future(read_elsewhere.remote(router)),
        }
        run = router.start(says_it, request_id=REQUEST_ID, settings={"dialect": "chat"})
        texts = {name: await reader for name, reader in readers.items()}
        texts["late"] = await read(router)
        texts["the result"] = (await run).text
    for name, text in texts.items():
        print(f"{name:20} {len(text):6} characters, sha256 {hashlib.sha256(text.encode()).hexdigest()[:12]}")
    if set(texts.values()) != {"".join(WORDS)}:
        raise SystemExit("the readers did not all see the same")
    print("all readers saw the same")


if __name__ == "__main__":
    asyncio.run(main())
