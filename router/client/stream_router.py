"""The front door: `StreamRouter`, asynchronous; `router.sync` has the same for plain scripts.

`StreamRouter.start` and `.connect` return an `Entrance`, which is both: `async with` gives the
asynchronous router, plain `with` the synchronous one.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import socket
import uuid
import zlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

import ray
from ray.exceptions import ActorUnavailableError, RayError

from actors.errors import RouterExists, RouterNotFound, RouterUnavailable, UnknownRequest, from_wire
from actors.messages import iso_seconds
from actors.protocol.states import ReaderState, Role
from actors.settings import StreamSettings
from router.client.agent_claim import AgentClaim, WhenBusy
from router.client.batch import Format
from router.client.link import Link
from router.client.publisher import Publisher
from router.client.recorder import Recorder
from router.client.replay_store import ReplayBudget
from router.client.subscription import Pollers, Subscription
from router.config import RayConfig, RouterConfig
from router.on_ray import actors as ray_actors
from router.on_ray.cluster import ensure_ray, why
from router.on_ray.router_actor import RouterActor
from router.status.overview import Description, Overview

if TYPE_CHECKING:
    from router.client.sync import SyncStreamRouter

log = logging.getLogger("router.client")

START_DEADLINE_S = 120.0
START_RETRY_S = 0.1
STOP_DEADLINE_S = 10.0
DEFAULT_WAIT_S = 30.0


class Location(NamedTuple):
    """Where a request is: its stream actor's Ray handle (with a `pull` method), and its epoch."""

    handle: Any
    epoch: int
    state: str


class StreamRouter:
    """A process's door to the routers of one name. Use within the event loop that opened it.

    Made by `StreamRouter.start(config)` (starts routers, and Ray if need be) or
    `StreamRouter.connect(name=...)` (finds running ones), each in an `async with`.
    """

    def __init__(self, config: RouterConfig, handles: list[Any], *, is_owner: bool, stops_ray: bool) -> None:
        self.config = config
        self.client_id = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._handles = handles
        self._is_owner = is_owner
        self._stops_ray = stops_ray
        self._links = [Link(self.client_id, handle, config.router_name(shard)) for shard, handle in enumerate(handles)]
        self._pollers = Pollers(self.client_id)
        self._budget = ReplayBudget(config.publisher.replay_bytes_max, config.publisher.spill_dir)
        self._recorder = Recorder(config.record)

    # --- beginning and end ------------------------------------------------------------------

    @classmethod
    def start(cls, config: str | Path | RouterConfig | None = None) -> Entrance:
        """Start the routers of a configuration (default: configs/local.yaml); a Ray that runs here is used as it is.

        Routers that run already under this name with the same configuration are joined. Raises
        ConfigError, RayUnavailable, RouterExists.
        """

        def prepare() -> StreamRouterOpening:
            loaded = RouterConfig.load(config)
            stops_ray = ensure_ray(loaded.ray, loaded.namespace)
            return lambda: cls._start(loaded, stops_ray=stops_ray)

        return Entrance(prepare)

    @classmethod
    def connect(
        cls, name: str = "agents", *, namespace: str = "agent-stream-router", address: str | None = None
    ) -> Entrance:
        """Find running routers by name, from any process of the cluster. Raises RayUnavailable, RouterNotFound."""

        def prepare() -> StreamRouterOpening:
            stops_ray = ensure_ray(RayConfig(address=address or "auto"), namespace)
            return lambda: cls._connect(name, namespace, stops_ray=stops_ray)

        return Entrance(prepare)

    @classmethod
    async def _start(cls, config: RouterConfig, *, stops_ray: bool) -> Self:
        made: list[tuple[Any, bool]] = []
        try:
            for shard in range(config.routers):
                await _in_thread(_make_or_find, config, shard, made)
            # With the warm pool standing ready, the first request is as quick as any.
            await asyncio.gather(*(_until_answered(handle.warm.remote) for handle, _ in made))
        except BaseException as error:
            # Never half: what was started before the failure goes again.
            if not (stops_ray and config.ray.is_embedded):  # else they go with their Ray
                await _stop_routers(config.name, [handle for handle, is_new in made if is_new])
            if stops_ray:
                ray.shutdown()
            if isinstance(error, (RayError, TimeoutError)):
                raise RouterUnavailable(f"router {config.name!r} did not start: {why(error)}") from error
            raise
        is_owner = all(is_new for _, is_new in made)
        return cls(config, [handle for handle, _ in made], is_owner=is_owner, stops_ray=stops_ray)

    @classmethod
    async def _connect(cls, name: str, namespace: str, *, stops_ray: bool) -> Self:
        try:
            first = await _in_thread(_find, name, namespace, 0)
            hello = await _until_answered(first.hello.remote)
            config = RouterConfig.model_validate_json(hello["config"])
            others = [await _in_thread(_find, name, namespace, shard) for shard in range(1, config.routers)]
        except BaseException as error:
            if stops_ray:
                ray.shutdown()
            if isinstance(error, (RayError, TimeoutError)):
                raise RouterUnavailable(f"router {name!r} was found but does not answer: {why(error)}") from error
            raise
        return cls(config, [first, *others], is_owner=False, stops_ray=stops_ray)

    async def close(self) -> None:
        """Close this door; routers that it started, and a Ray that it started, are stopped."""
        await self._pollers.close()
        for link in self._links:
            await link.close()
        self._budget.close()
        await asyncio.to_thread(self._recorder.close)
        if self._is_owner and not self.config.detached:
            await self.stop()
        if self._stops_ray:
            await asyncio.to_thread(ray.shutdown)

    async def stop(self) -> None:
        """Stop the routers and their stream actors, for everybody; open requests are lost."""
        await _stop_routers(self.config.name, self._handles)

    # --- requests ---------------------------------------------------------------------------

    def _shard(self, request_id: str) -> Link:
        if len(self._links) == 1:
            return self._links[0]
        return self._links[zlib.crc32(request_id.encode("utf-8", "surrogatepass")) % len(self._links)]

    def publish(
        self,
        request_id: str,
        settings: StreamSettings | Mapping[str, Any] | None = None,
        *,
        date: datetime | str | None = None,
        agent_id: str | None = None,
        when_busy: WhenBusy = "reject",
        take_over: bool = False,
    ) -> Publisher:
        """Return the producing end of a request; open it with `async with`.

        `date` is what its messages are dated with (default: now). `agent_id` and `when_busy` say
        what happens while another request of the same agent runs: this one is refused with AgentBusy,
        waits (`open_timeout_s` at most), or has the other cancelled. `take_over` continues an open
        request whose publisher is gone: `next_seq` then says which item it wants next. Raises
        SettingsError; opening raises what `Publisher.open` names.
        """
        claim = None
        if agent_id is not None:
            give_up = functools.partial(self._give_up, request_id)
            claim = AgentClaim(self._shard(agent_id), request_id, agent_id, when_busy, give_up)
        chosen = self.config.streams if settings is None else StreamSettings.load(settings)
        when = datetime.now(UTC) if date is None else date
        dated = when if isinstance(when, str) else iso_seconds(when)
        return Publisher(
            self._shard(request_id),
            request_id,
            chosen,
            self._budget,
            date=dated,
            agent_id=agent_id,
            claim=claim,
            open_timeout_s=self.config.stream_actors.open_timeout_s,
            take_over=take_over,
            recording=self._recorder.recording(request_id, chosen, dated),
        )

    def subscribe(
        self,
        request_id: str,
        *,
        after: int = 0,
        coalesce: bool = False,
        format: Format = "model",  # noqa: A002  # the plain word
        wait_s: float = DEFAULT_WAIT_S,
        ping_s: float | None = None,
    ) -> Subscription:
        """Return an asynchronous iterator over batches of a request's messages after a cursor.

        Any number of readers, anywhere, each with its own cursor. `coalesce` joins neighbouring
        pieces of a message in a batch. `format`: pydantic models, plain dicts, packed bytes, or
        OpenAI chat-completion chunks. A request not opened yet is waited for, `wait_s` at most. With
        `ping_s`, a batch of one `ping` comes whenever nothing else has for so long.
        """
        link = self._shard(request_id)
        return Subscription(
            request_id, link, self._pollers, after=after, coalesce=coalesce, format=format, wait_s=wait_s, ping_s=ping_s
        )

    async def _give_up(self, request_id: str, detail: str) -> None:
        try:
            await self.cancel(request_id, detail=detail)
        except UnknownRequest:
            return  # not opened yet: its claim says so by itself

    async def cancel(self, request_id: str, *, after_step: bool = False, detail: str | None = None) -> bool:
        """Cancel a request, at once or when the step under way ends; False where it had ended already.

        Its producer is told at once, even while its provider stalls. Raises UnknownRequest.
        """
        error, was_open = await self._shard(request_id).ask("cancel", request_id, after_step, detail)
        if error is not None:
            raise from_wire(error[0], error[1])
        return bool(was_open)

    async def locate(self, request_id: str, *, wait_s: float = DEFAULT_WAIT_S) -> Location:
        """Return where a request is; `handle.pull.remote(request_id, after_seq, ...)` reads it.

        Raises UnknownRequest, RouterUnavailable.
        """
        link = self._shard(request_id)
        listener = _Whereabouts(link, request_id)
        link.locate(request_id, listener)
        try:
            actor_id, epoch, state = await asyncio.wait_for(listener.found, wait_s)
            handle = await link.actor(actor_id)
        except TimeoutError:
            raise UnknownRequest(f"no request {request_id!r} within wait_s = {wait_s:g} s: check the ID") from None
        finally:
            link.lose_interest((Role.READER, request_id), listener)
        if handle is None:
            raise RouterUnavailable(f"request {request_id!r} is being placed anew; ask again")
        return Location(handle, epoch, state)

    async def describe(self) -> Description:
        """Return who runs and what they hold. Raises RouterUnavailable."""
        parts = await asyncio.gather(*(link.ask("describe") for link in self._links))
        return Description.model_validate(
            {
                "name": self.config.name,
                "namespace": self.config.namespace,
                "routers": [part["router"] for part in parts],
                "stream_actors": [actor for part in parts for actor in part["stream_actors"]],
                "requests": [request for part in parts for request in part["requests"]],
            }
        )

    async def overview(self, streams_max: int = 20) -> Overview:
        """Return how the service stands, and `streams_max` open requests that lag most. Raises RouterUnavailable."""
        parts = await asyncio.gather(*(link.ask("overview", streams_max) for link in self._links))
        streams = [stream for part in parts for stream in part["streams"]]
        return Overview.model_validate(
            {
                "name": self.config.name,
                "namespace": self.config.namespace,
                "routers": [part["router"] for part in parts],
                "stream_actors": [actor for part in parts for actor in part["stream_actors"]],
                "streams": sorted(streams, key=lambda stream: stream["lag"], reverse=True)[:streams_max],
            }
        )

    async def drain(self) -> int:
        """Take no new requests from now on, in any process; return how many are still open."""
        return sum(await asyncio.gather(*(link.ask("drain") for link in self._links)))

    async def resume(self) -> None:
        """Take new requests again after a `drain`."""
        await asyncio.gather(*(link.ask("resume") for link in self._links))


class _Whereabouts:
    """Waits for the first state that names an actor."""

    def __init__(self, link: Link, request_id: str) -> None:
        self._link = link
        self._request_id = request_id
        self.found: asyncio.Future[tuple[str, int, str]] = asyncio.get_running_loop().create_future()

    def on_state(self, state: ReaderState) -> None:
        if state.actor_id is not None and not self.found.done():
            self.found.set_result((state.actor_id, state.epoch, state.phase))

    def on_unreachable(self, error: RouterUnavailable) -> None:
        if not self.found.done():
            self.found.set_exception(error)

    def on_router_restart(self) -> None:
        self._link.ask_where(self._request_id)


StreamRouterOpening = Callable[[], Coroutine[Any, Any, StreamRouter]]


class Entrance:
    """What `start` and `connect` return: enter it with `async with`, or with plain `with` from a script."""

    def __init__(self, prepare: Callable[[], StreamRouterOpening]) -> None:
        # Ray wants to be initialised in the caller's own thread, since it sets signal handlers.
        self._prepare = prepare
        self._router: StreamRouter | None = None
        self._sync: SyncStreamRouter | None = None

    async def __aenter__(self) -> StreamRouter:
        self._router = await self._prepare()()
        return self._router

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._router is not None:
            await self._router.close()

    def __enter__(self) -> SyncStreamRouter:
        from router.client.sync import SyncStreamRouter  # noqa: PLC0415  # it imports this module

        self._sync = SyncStreamRouter(self._prepare())
        return self._sync

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sync is not None:
            self._sync.close()


_T = TypeVar("_T")


async def _in_thread(function: Callable[..., _T], *arguments: Any) -> _T:
    """Call what blocks in a thread. A cancel waits for its end: a process whose Ray ends under a thread dies of it."""
    calling = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(calling)
    except asyncio.CancelledError:
        await asyncio.wait([calling])
        raise


def _make_or_find(config: RouterConfig, shard: int, made: list[tuple[Any, bool]]) -> None:
    """Append a router actor's handle to `made`, and whether it was started now. Raises RouterExists."""
    try:
        made.append((ray_actors.make_router_actor(RouterActor, config, shard), True))
    except ValueError:
        handle = _find(config.name, config.namespace, shard)
        running = RouterConfig.model_validate_json(ray.get(handle.hello.remote(), timeout=START_DEADLINE_S)["config"])
        if running.model_dump(exclude={"ray"}) != config.model_dump(exclude={"ray"}):
            raise RouterExists(
                f"router {config.name!r} runs already with another configuration; connect to it with "
                f"StreamRouter.connect(name={config.name!r}), stop it first, or give this one another name"
            ) from None
        made.append((handle, False))


async def _stop_routers(name: str, handles: Sequence[Any]) -> None:
    """Let routers end their stream actors, then end them."""
    try:
        await asyncio.wait_for(asyncio.gather(*(handle.stop.remote() for handle in handles)), STOP_DEADLINE_S)
    except (RayError, TimeoutError) as error:
        log.warning("router %s did not stop by itself: %s", name, type(error).__name__)
    for handle in handles:
        ray.kill(handle)


async def _until_answered(method: Callable[[], Awaitable[Any]]) -> Any:
    """Call a method that may be called twice until its outcome is known: a call can fail, a router be restarting.

    Raises RayError, TimeoutError.
    """
    async with asyncio.timeout(START_DEADLINE_S):
        while True:
            try:
                return await method()
            except ActorUnavailableError:
                await asyncio.sleep(START_RETRY_S)


def _find(name: str, namespace: str, shard: int) -> Any:
    try:
        return ray_actors.find_router_actor(name, namespace, shard)
    except ValueError:
        raise RouterNotFound(
            f"no router {name!r} in namespace {namespace!r} on this cluster; start one with "
            "StreamRouter.start(config) or `stream-router start`, or check the name and the address"
        ) from None
