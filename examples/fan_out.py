"""One request, several readers: two live, one slow, one in another process, one that comes back, one that comes late.

    python examples/fan_out.py

Readers do not share anything: each has its own cursor, and reading takes nothing away from the others.
"""

from __future__ import annotations

import asyncio
import hashlib

import ray

from router import StreamRouter
from router.config import RouterConfig

REQUEST_ID = "fan-out"
WORDS = [f"word-{n} " for n in range(400)]
PACE_S = 0.003
SLOW_S = 0.1


def chunk(content: str | None, finish_reason: str | None = None) -> dict[str, object]:
    """Return an OpenAI chat-completion chunk."""
    delta = {} if content is None else {"content": content}
    return {
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }


async def publish(router: StreamRouter) -> None:
    """Publish the request."""
    async with router.publish(REQUEST_ID, {"dialect": "chat"}) as stream:
        for word in WORDS:
            await stream.chunk(chunk(word))
            await asyncio.sleep(PACE_S)
        await stream.chunk(chunk(None, "stop"))


async def read(router: StreamRouter, *, after: int = 0, pause_s: float = 0.0) -> str:
    """Read all after a cursor; with `pause_s`, slowly."""
    text = ""
    async for batch in router.subscribe(REQUEST_ID, after=after, format="dict"):
        text += "".join(m["content"] for m in batch if m["message_type"] == "assistant_message")
        await asyncio.sleep(pause_s)
    return text


async def read_with_a_break(router: StreamRouter) -> str:
    """Read a part, go away, and go on from the last `seq_id`: as a browser does that lost its connection."""
    text = ""
    subscription = router.subscribe(REQUEST_ID, format="dict")
    async for batch in subscription:
        text += "".join(m["content"] for m in batch if m["message_type"] == "assistant_message")
        if len(text) > sum(map(len, WORDS)) // 3:
            break
    await subscription.aclose()
    await asyncio.sleep(SLOW_S)
    return text + await read(router, after=subscription.last_seq_id)


@ray.remote(num_cpus=0)
class Reader:
    """A reader somewhere else on the cluster."""

    async def read(self, router_name: str) -> str:
        """Read the whole request."""
        async with StreamRouter.connect(router_name) as router:
            return await read(router)


async def main() -> None:
    """Start everything, and compare what each reader saw."""
    async with StreamRouter.start(RouterConfig.model_validate({"name": "fan-out"})) as router:
        elsewhere = Reader.remote()  # type: ignore[attr-defined]  # Ray adds it
        readers = {
            "live": asyncio.create_task(read(router)),
            "live too": asyncio.create_task(read(router)),
            "slow": asyncio.create_task(read(router, pause_s=SLOW_S)),
            "with a break": asyncio.create_task(read_with_a_break(router)),
            "in another process": asyncio.ensure_future(elsewhere.read.remote(router.config.name)),
        }
        await publish(router)
        texts = {name: await reader for name, reader in readers.items()}
        texts["late"] = await read(router)
    for name, text in texts.items():
        print(f"{name:20} {len(text):6} characters, sha256 {hashlib.sha256(text.encode()).hexdigest()[:12]}")
    if set(texts.values()) != {"".join(WORDS)}:
        raise SystemExit("the readers did not all see the same")
    print("all readers saw the same")


if __name__ == "__main__":
    asyncio.run(main())
