"""Running agents and reading them without asyncio, as in a notebook: the cells below run one after the other.

Open this file as a notebook (Jupyter and VS Code know the `# %%` marks), or run it: python examples/notebook.py
The router lives in a thread of its own, so that it does not matter that a notebook has an event loop already.
"""

# ruff: noqa: E402 - a notebook prints, and imports where it needs something
# %% A Ray and a router of our own. In a cluster: StreamRouter.connect("agents") instead.
from router import StreamRouter

door = StreamRouter.start()
router = door.__enter__()

# %% An agent: what it yields is sent. It runs as a Ray task, anywhere on the cluster.
import time
from collections.abc import Iterator

from router.sources import load_payloads


def agent(recording: str) -> Iterator[bytes]:
    """Say what was recorded, at the pace of a quick typist."""
    for payload in load_payloads(recording):
        yield payload
        time.sleep(0.005)


run = router.start(agent, "anthropic-code-reasoning-1", request_id="note-1", settings={"dialect": "chat"})

# %% Follow it while it speaks, message by message. (`router.messages("note-1", coalesce="tokens")` gives each piece,
# `router.show("note-1")` a live view.)
for message in run.messages():
    match message.message_type:
        case "reasoning_message":
            print(message.reasoning)
        case "assistant_message":
            print(message.content)

# %% What it came to.
result = run.result()
print(f"[{result.stop_reason}] {len(result.text)} characters, {len(result.tool_calls)} tool calls, {result.usage}")

# %% Read it again, or any part of it: reading takes nothing away.
messages = list(router.messages("note-1"))
print(f"{len(messages)} messages, of which the last: {messages[-1].model_dump_json()}")

# %% Several at once: each result as its agent ends, then what all of them said in one loop.
for result in router.map(
    agent, ["ollama-reasoning-1", "openai-tool-2"], name="note-many", settings={"dialect": "chat"}
):
    print(f"{result.request_id}: {result.stop_reason}")
for request_id, message in router.merge(["note-many-1", "note-many-2"]):
    print(f"{request_id}: {message.message_type}")

# %% How the router stands.
for actor in router.overview().stream_actors:
    print(f"{actor.actor_id}: {actor.open} open, {actor.chunks} chunks, {actor.messages} messages")

# %% At the end of the notebook.
door.__exit__(None, None, None)
