"""A line to an actor: to be used as its handle is, with Ray or a socket behind it.

`line.method.remote(...)` goes through a socket where the actor stands on the same node and they have met, and
otherwise through Ray, as does what only Ray can bring (`CARRIED` names the rest). Ray tells deaths, restarts and
where an actor is; so when a connection breaks, the next call goes through Ray and another meeting is asked for.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from ray.exceptions import ActorUnavailableError, RayError

from actors.errors import StreamRouterError, from_wire
from actors.transport.local import MEET_DEADLINE_S, Connection
from actors.transport.meeting import Address

log = logging.getLogger("actors.transport")

CARRIED = frozenset({
    "open", "feed", "watch", "locate", "claim", "release", "fence", "cancel", "disown", "suspect", "report",
    "poll", "tell",
})  # fmt: skip
"""The methods of both actors whose arguments and answers are plain data, and that may be called twice."""

MEET_AGAIN_S = 5.0
"""Where a meeting failed, another one is asked for after so long."""

FAR_AGAIN_S = 60.0
"""The same where they could not meet; an actor may begin again on this node."""


class Raised(RayError):
    """What a method raised, told as Ray tells it: `cause` is the error."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _as_raised(code: str, text: str) -> Exception:
    return Raised(from_wire(code, text))


def _as_lost(why: str) -> Exception:
    return ActorUnavailableError(why, None)


class _Method:
    """One method of an actor."""

    __slots__ = ("_line", "_name", "_through_ray")

    def __init__(self, line: Line, name: str, through_ray: Any) -> None:
        self._line = line
        self._name = name
        self._through_ray = through_ray

    def remote(self, *arguments: Any) -> Any:
        """Call it; what is returned can be awaited."""
        connection = self._line.connection
        if connection is not None:
            return connection.call(self._name, arguments)
        self._line.meet_soon()
        return self._through_ray(*arguments)


class Line:
    """A line from this process to an actor. `node_id`: where this process stands; None: through Ray alone."""

    def __init__(self, handle: Any, node_id: str | None) -> None:
        self.handle = handle
        self.connection: Connection | None = None
        self.why = "the configuration says so" if node_id is None else "not met yet"
        """Why it goes through Ray, where it does."""
        self._node_id = node_id
        self._meeting: asyncio.Task[None] | None = None
        self._meet_at = 0.0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        method = getattr(self.handle, name)
        if self._node_id is None or name not in CARRIED:
            return method
        made = _Method(self, name, method.remote)
        setattr(self, name, made)  # found at once from now on
        return made

    @property
    def means(self) -> str:
        """What carries its calls: local or ray."""
        return "ray" if self.connection is None else "local"

    def meet_soon(self) -> None:
        """Ask the actor for a meeting, unless that is under way or was in vain a moment ago."""
        if self._meeting is not None or self._node_id is None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() >= self._meet_at:
            self._meeting = loop.create_task(self._meet())

    async def _meet(self) -> None:
        self._meet_at = asyncio.get_running_loop().time() + MEET_AGAIN_S
        try:
            parts = await asyncio.wait_for(self.handle.meet.remote(), MEET_DEADLINE_S)
            address = None if parts is None else Address(*parts)
            if address is None or address.node_id != self._node_id:
                self.why = "its system does not allow it" if address is None else "it stands on another node"
                self._meet_at += FAR_AGAIN_S
                return
            self.connection = await Connection.to(address, self._lost, _as_lost, _as_raised)
            self.why = ""
        except (RayError, OSError, TimeoutError, StreamRouterError) as error:
            self.why = f"they could not meet: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
            log.info("a line stays with Ray: %s", self.why)
        finally:
            self._meeting = None

    def _lost(self) -> None:
        self.connection = None
        self.why = "the local connection broke"

    def close(self) -> None:
        """Call nothing more through a socket."""
        self._node_id = None
        if self._meeting is not None:
            self._meeting.cancel()
        if self.connection is not None:
            connection, self.connection = self.connection, None
            connection.close()
