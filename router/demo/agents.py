"""The demo's agents: each asks its provider for a stream and publishes it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlencode

from actors.errors import StreamRouterError
from actors.settings import StreamSettings
from router import StreamRouter
from router.scripted_provider.library import Recording
from router.scripted_provider.script import SCRIPT_HEADER
from router.sources.http import HttpSource, route

_T = TypeVar("_T")

SETTINGS = StreamSettings(dialect="chat")
"""The recordings are of plain chat models: content is the assistant's, tool calls pass through."""

# A stream takes about so long at speed 1; slow ones still move, quick ones can still be read.
DURATION_S = (6.0, 12.0)
PACE_PER_S = (4.0, 40.0)
STALL_S = 3.0
JITTER_EVERY, STALL_EVERY = 3, 5


@dataclass(frozen=True)
class Agent:
    """One agent request: its ID, the recording its provider will play, and how (a script's settings)."""

    request_id: str
    recording: Recording
    script: dict[str, Any]

    @property
    def model(self) -> str:
        """Provider and model, for people."""
        return f"{self.recording.provider}/{self.recording.model.rpartition('/')[2]}"


@dataclass
class Published:
    """What is known of a request at its publishing end; times are `time.time()`, in seconds."""

    asked_at: float = 0.0
    handed_at: list[float] = field(default_factory=list)
    error: str | None = None


def make_agents(recordings: Sequence[Recording], count: int, speed: float, seed: int) -> list[Agent]:
    """Return `count` agents over the recordings in turn: a third at an uneven pace, a fifth with a stall."""
    rng = random.Random(seed)
    mixed = rng.sample(list(recordings), len(recordings))
    digits = len(str(count))
    agents = []
    for number in range(count):
        recording = mixed[number % len(mixed)]
        pace = len(recording.events) / rng.uniform(*DURATION_S)
        script: dict[str, Any] = {
            "events_per_s": round(min(max(pace, PACE_PER_S[0]), PACE_PER_S[1]), 2),
            "first_event_s": round(rng.uniform(0.1, 1.0), 2),
            "speed": speed,
            "seed": seed,
        }
        if number % JITTER_EVERY == 0:
            script["jitter"] = 0.9
        if number % STALL_EVERY == 0:
            script["stall_s"] = STALL_S
        agents.append(Agent(f"agent-{number + 1:0{digits}}", recording, script))
    return agents


async def publish(
    agent: Agent, source: HttpSource, router: StreamRouter, record: Published, follow: Callable[[str], _T]
) -> _T | None:
    """Ask the provider and publish each chunk as it comes.

    `follow` is called with the request's ID as soon as it is open; what it gave back is returned, None
    where the request could not be opened. A provider that fails ends the request with an error that its
    readers see; `record.error` says it too.
    """
    following = None
    api, name = agent.recording.api, agent.recording.name
    body = {"model": name, "stream": True, "messages": [{"role": "user", "content": "Go on."}]}
    headers = {SCRIPT_HEADER: urlencode(agent.script), "x-script-key": agent.request_id}
    record.asked_at = time.time()
    try:
        async with router.publish(agent.request_id, SETTINGS) as stream:
            following = follow(agent.request_id)
            async for chunk in source.stream(route(api, name), body, headers=headers):
                record.handed_at.append(time.time())
                await stream.chunk(chunk)
    except StreamRouterError as error:
        record.error = f"{error} [{error.code}]"
    return following
