"""What stands in for a Ray actor and its handle where calls through sockets are tried."""

from __future__ import annotations

import asyncio

from ray.exceptions import ActorUnavailableError

from actors.errors import UnknownRequest
from actors.transport.connection import Connection
from actors.transport.door import Door
from actors.transport.meeting import LOCAL, Address, Reach

METHODS = ("poll", "feed", "tell", "watch")
FOLLOWED = ("follow",)
DEADLINE_S = 10.0
HERE = Reach("here", "", True, None)


class Actor:
    """What a Ray actor would be."""

    def __init__(self, node_id: str | None = "here") -> None:
        self.door = Door(self, METHODS, None if node_id is None else Reach(node_id, "", True, None), FOLLOWED)
        self.called: list[tuple[object, ...]] = []
        self.may_answer = asyncio.Event()
        self.replies = []

    async def meet(self, node_id="here", is_apart=False):  # noqa: FBT002  # a Ray method
        return self.door.meet(node_id, is_apart=is_apart)

    async def feed(self, *arguments):
        self.called.append(arguments)
        return b"".join(argument for argument in arguments if isinstance(argument, bytes))

    async def poll(self, frame):
        await self.may_answer.wait()
        return frame

    def follow(self, frame, reply):
        if frame == b"refused":
            raise UnknownRequest("refused")
        self.replies.append(reply)

    async def tell(self, frame):
        raise UnknownRequest(f"no request {frame!r}")

    async def watch(self, frame):
        raise ZeroDivisionError(frame)


class Asker:
    """Makes calls that have many answers."""

    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []

    def more(self, number, answer):
        self.heard.append((number, answer))

    def last(self, number, answer):
        self.heard.append((number, answer, "last"))

    def failed(self, error):
        self.heard.append((type(error).__name__,))


class RayMethod:
    def __init__(self, method, through_ray):
        self._method, self._through_ray = method, through_ray

    def remote(self, *arguments):
        self._through_ray.append(self._method.__name__)
        return asyncio.ensure_future(self._method(*arguments))


class Handle:
    """What a Ray handle would be; `through_ray` notes what goes through Ray."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.through_ray: list[str] = []

    def __getattr__(self, name):
        return RayMethod(getattr(self.actor, name), self.through_ray)


async def until(condition) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  # what is waited for does not tell
            await asyncio.sleep(0.001)


def lost(why: str) -> Exception:
    return ActorUnavailableError(why, None)


async def connect(address: list[object]) -> Connection:
    return await Connection.to(Address(*address), lambda: None, lost, lambda _code, text: RuntimeError(text))


def elsewhere(meet):
    """Name a directory that is not there, as that of another container is not."""

    def meet_elsewhere(node_id: str, *, is_apart: bool):
        told = meet(node_id, is_apart=is_apart)
        return [told[0], "/nowhere", *told[2:]] if told[0] == LOCAL else told

    return meet_elsewhere
