"""A user's program on the cluster: publishes or reads one request of a service, each in a process of its own.

client.py NAME publish REQUEST_ID    opens it, says so, sends a word for each line on stdin, finishes when stdin ends
client.py NAME read REQUEST_ID       prints what it reads as JSON
client.py NAME kill-router           kills the first router for good, as a lost node would
client.py NAME names                 prints all actors that Ray knows by name
"""

from __future__ import annotations

import asyncio
import json
import sys

import ray
from ray.util import list_named_actors

from actors.errors import StreamRouterError
from router import StreamRouter


def say(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def publish(name: str, request_id: str) -> None:
    async with StreamRouter.connect(name) as router, router.publish(request_id, {"dialect": "chat"}) as stream:
        say("open")
        while word := await asyncio.to_thread(sys.stdin.readline):
            await stream.chunk({"choices": [{"index": 0, "delta": {"content": word}}]})
        await stream.chunk({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    say(stream.stop_reason)


async def read(name: str, request_id: str) -> None:
    text, seq_ids, batch = "", [], None
    async with StreamRouter.connect(name) as router:
        async for batch in router.subscribe(request_id, format="dict"):
            seq_ids += [message["seq_id"] for message in batch]
            text += "".join(m["content"] for m in batch if m["message_type"] == "assistant_message")
    say(json.dumps({"text": text, "seq_ids": seq_ids, "stop_reason": batch.stop_reason if batch else None}))


async def kill_router(name: str) -> None:
    async with StreamRouter.connect(name):
        ray.kill(ray.get_actor(f"{name}/router-0", namespace="agent-stream-router"))


async def names(name: str) -> None:
    async with StreamRouter.connect(name):
        say(json.dumps(sorted(known["name"] for known in list_named_actors(all_namespaces=True))))


service, command, *arguments = sys.argv[1:]
do = {"publish": publish, "read": read, "kill-router": kill_router, "names": names}[command]
try:
    asyncio.run(do(service, *arguments))
except StreamRouterError as error:
    say(error.code)
