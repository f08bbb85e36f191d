"""Publishing and reading without asyncio, as in a notebook: the cells below run one after the other.

Open this file as a notebook (Jupyter and VS Code know the `# %%` marks), or run it: python examples/notebook.py
The router lives in a thread of its own, so that it does not matter that a notebook has an event loop already.
"""

# ruff: noqa: E402 - a notebook prints, and imports where it needs something
# %% A Ray and a router of our own. In a cluster: StreamRouter.connect("agents") instead.
from router import StreamRouter

door = StreamRouter.start()
router = door.__enter__()

# %% Somebody produces: a thread here, any process of the cluster in earnest.
import threading
import time

from router.demo import RECORDINGS
from router.sources import load_payloads


def produce(request_id: str, recording: str) -> None:
    """Publish a recorded stream at the pace of a quick typist."""
    with router.publish(request_id, {"dialect": "chat"}) as stream:
        for payload in load_payloads(RECORDINGS / recording):
            stream.chunk(payload)
            time.sleep(0.005)


thread = threading.Thread(target=produce, args=("note-1", "anthropic-code-reasoning-1.sse"))
thread.start()

# %% Read it while it is written. `coalesce` joins the pieces of a message that come together.
for batch in router.subscribe("note-1", coalesce=True):
    for message in batch:
        match message.message_type:
            case "reasoning_message":
                print(message.reasoning, end="")
            case "assistant_message":
                print(message.content, end="")
            case "stop_reason":
                print(f"\n[{message.stop_reason}]")
thread.join()

# %% Read it again, or any part of it: reading takes nothing away.
messages = [message for batch in router.subscribe("note-1", format="dict") for message in batch]
print(f"{len(messages)} messages, of which the last: {messages[-1]}")

# %% How the router stands.
for actor in router.overview().stream_actors:
    print(f"{actor.actor_id}: {actor.open} open, {actor.chunks} chunks, {actor.messages} messages")

# %% At the end of the notebook.
door.__exit__(None, None, None)
