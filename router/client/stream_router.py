"""The front door: `StreamRouter`, asynchronous; `router.sync` has the same for plain scripts.

`StreamRouter.start` and `.connect` return an `Entrance`, which is both: `async with` gives the
asynchronous router, plain `with` the synchronous one.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
import weakref
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import ray
from ray.exceptions import RayError

from actors.errors import (
    RouterClosed,
    RouterUnavailable,
    StreamRouterError,
    UnknownRequest,
)
from actors.messages import iso_seconds
from actors.protocol.calls import Registration
from actors.protocol.labels import pack_labels
from actors.settings import StreamSettings, packed
from actors.tenants import PLAIN, names_in
from actors.transport.line import stands_here
from router.archive.table import need_archive
from router.client.arguments import check
from router.client.ending_calls import EndingCalls
from router.client.entrance import Entrance, StreamRouterOpening
from router.client.finding.calls import FindingCalls
from router.client.launch.calls import LaunchingCalls
from router.client.launch.doors import of_a_router
from router.client.launch.launches import Launches
from router.client.links.caller import fresh
from router.client.links.link import CLOSED, Link
from router.client.operating_calls import OperatingCalls
from router.client.passing import actors_of, passed
from router.client.publishing.agent_claim import AgentClaim, WhenBusy
from router.client.publishing.encoding import load_settings, within_span
from router.client.publishing.publisher import Publisher
from router.client.publishing.recorder import Recorder
from router.client.publishing.replay_store import ReplayBudget
from router.client.reading.archived import OrArchived
from router.client.reading.batch import Format, Shaper
from router.client.reading.calls import ReadingCalls
from router.client.reading.poller import Pollers
from router.client.reading.reader import Reader
from router.client.reading.subscription import Subscription
from router.client.startup import (
    enter,
    find,
    in_thread,
    make_or_find,
    process_name,
    stop_routers,
    token_for,
    until_answered,
)
from router.client.unheld import end_unheld
from router.config import RayConfig, RouterConfig
from router.on_ray.cluster import ensure_ray, why

log: logging.Logger = logging.getLogger("router.client")

DEFAULT_WAIT_S = 30.0


class StreamRouter(ReadingCalls, EndingCalls, LaunchingCalls, FindingCalls, OperatingCalls):
    """A process's door to the routers of one name. Use within the event loop that opened it.

    Passed to a Ray task or kept in an actor, it arrives as one of its own, which connects at its first call, for the
    same tenant.

    Made by `StreamRouter.start(config)` (starts routers, and Ray if need be) or
    `StreamRouter.connect(name=...)` (finds running ones), each in an `async with`.
    """

    def __init__(
        self,
        config: RouterConfig,
        handles: list[Any],
        *,
        is_owner: bool,
        stops_ray: bool,
        client_id: str | None = None,
    ) -> None:
        self.config = config
        self.client_id: str = client_id or process_name()
        # With tenants, a call that says nothing of its caller says it.
        self._caller = (self.client_id,) if config.tenants.enabled else ()
        self._names = names_in(self.client_id) if config.tenants.enabled else PLAIN
        self._handles = handles
        self._is_owner = is_owner
        self._stops_ray = stops_ray
        # (To ask Ray for its context starts one where there is none.)
        reach = stands_here(config.reach) if ray.is_initialized() else None
        gather_s = config.publisher.gather_ms / 1000
        self._links = [
            Link(self.client_id, handle, config.router_name(shard), reach, gather_s)
            for shard, handle in enumerate(handles)
        ]
        self._pollers = Pollers(self.client_id, config.subscriber.gather_ms / 1000)
        self._budget = ReplayBudget(config.publisher.replay_bytes_max, config.publisher.spill_dir)
        self._recorder = Recorder(config.record)
        self._launches = Launches()
        self._closing: asyncio.Future[None] | None = None
        # Whoever waits while nobody holds this any more must hear that nothing will come.
        self._finalizer = weakref.finalize(self, end_unheld, self._links, self._pollers, self._budget)
        self._finalizer.atexit = False

    # --- beginning and end ------------------------------------------------------------------

    @of_a_router(LaunchingCalls._start_agent)  # noqa: SLF001  # its name there is `start`
    def start(cls, config: str | Path | RouterConfig | None = None, *, token: str | None = None) -> Entrance:  # noqa: N805
        """Start the routers of a configuration (default: configs/local.yaml); a Ray that runs here is used as it is.

        Routers that run already under this name with the same configuration are joined. Of an open router,
        `start(agent, ...)` runs an agent (docs/running-agents.md). `token`: as for `connect`.
        Raises ConfigError, RayUnavailable, RouterExists, NotPermitted, InvalidArgument.
        """
        config, token = check("StreamRouter.start", config=config, token=token)

        def prepare() -> StreamRouterOpening:
            loaded = RouterConfig.load(config)
            if loaded.archive.folder is not None:
                need_archive()
            shown = token_for(loaded, token)
            stops_ray = ensure_ray(loaded.ray, loaded.namespace)
            return lambda: cls._start(loaded, shown, stops_ray=stops_ray)

        return Entrance(prepare)

    @classmethod
    def connect(
        cls,
        name: str = "agents",
        *,
        namespace: str = "agent-stream-router",
        address: str | None = None,
        token: str | None = None,
    ) -> Entrance:
        """Find running routers by name, from any process of the cluster.

        `token`: who this is, of a service with tenants; else what STREAM_ROUTER_TOKEN holds. Raises
        RayUnavailable, RouterNotFound, NotPermitted, InvalidArgument.
        """
        name, namespace, address, token = check(
            "StreamRouter.connect", name=name, namespace=namespace, address=address, token=token
        )

        def prepare() -> StreamRouterOpening:
            stops_ray = ensure_ray(RayConfig(address=address or "auto"), namespace)
            return lambda: cls._connect(name, namespace, token, stops_ray=stops_ray)

        return Entrance(prepare)

    @classmethod
    async def _start(cls, config: RouterConfig, token: str | None, *, stops_ray: bool) -> Self:
        made: list[tuple[Any, bool]] = []
        try:
            for shard in range(config.routers):
                await in_thread(make_or_find, config, shard, made)
            # Their stream actors come up meanwhile: see `warm`.
            await asyncio.gather(*(until_answered(handle.hello.remote) for handle, _ in made))
            client_id = await enter(made[0][0], token)
        except BaseException as error:
            # Never half: what was started before the failure goes again.
            if not (stops_ray and config.ray.is_embedded):  # else they go with their Ray
                await stop_routers(config.name, [handle for handle, is_new in made if is_new])
            if stops_ray:
                ray.shutdown()
            if isinstance(error, (RayError, TimeoutError)):
                raise RouterUnavailable(f"router {config.name!r} did not start: {why(error)}") from None
            raise
        is_owner = all(is_new for _, is_new in made)
        handles = [handle for handle, _ in made]
        return cls(config, handles, is_owner=is_owner, stops_ray=stops_ray, client_id=client_id)

    @classmethod
    async def _connect(cls, name: str, namespace: str, token: str | None, *, stops_ray: bool) -> Self:
        try:
            first = await in_thread(find, name, namespace, 0)
            hello = await until_answered(first.hello.remote)
            config = RouterConfig.model_validate_json(hello["config"])
            client_id = await enter(first, token_for(config, token))
            others = [await in_thread(find, name, namespace, shard) for shard in range(1, config.routers)]
        except BaseException as error:
            if stops_ray:
                ray.shutdown()
            if isinstance(error, (RayError, TimeoutError)):
                raise RouterUnavailable(f"router {name!r} was found but does not answer: {why(error)}") from None
            raise
        return cls(config, [first, *others], is_owner=False, stops_ray=stops_ray, client_id=client_id)

    async def warm(self) -> None:
        """Return when the stream actors that should stand ready do so (`warm_actors`), or have failed to start.

        `start` does not wait for them, and no call needs it: a request that finds none ready waits for the first.
        Raises RouterUnavailable, RouterClosed.
        """
        self._check_open()
        await asyncio.gather(*(link.ask("warm") for link in self._links))

    async def close(self) -> None:
        """Close this end; routers that it started, and a Ray that it started, are stopped.

        Whoever waits for anything of it hears RouterClosed, and so does every call from now on. Closing
        twice does no harm; a cancel does not leave it half closed.
        """
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self._finalizer.detach()
        for link in self._links:
            await link.close()
        await asyncio.to_thread(self._launches.close)  # Ray's control store may stand still
        await asyncio.gather(*self._pollers.end(), return_exceptions=True)
        self._budget.close()
        await asyncio.to_thread(self._recorder.close)
        if self._is_owner and not self.config.detached:
            await stop_routers(self.config.name, self._handles, *self._caller)
        if self._stops_ray:
            await asyncio.to_thread(ray.shutdown)

    async def stop(self) -> None:
        """Stop the routers and their stream actors, for everybody; open requests are lost. Raises NotPermitted."""
        self._check_open()
        if self._caller:
            await self._ask_all("stop")  # it may be refused, and then nothing is killed
        await stop_routers(self.config.name, await actors_of(self._handles), *self._caller)

    def _beside(self, client_id: str) -> StreamRouter:
        beside = StreamRouter(self.config, self._handles, is_owner=False, stops_ray=False, client_id=client_id)
        beside._pollers.gather_s = self._pollers.gather_s
        return beside

    def __reduce__(self) -> tuple[Any, ...]:
        self._check_open()
        return passed(self.config, self.client_id)

    def _check_open(self) -> None:
        if self._closing is not None:
            raise RouterClosed(CLOSED)
        for link in self._links:
            if isinstance(link.error, RouterClosed):
                raise fresh(link.error)

    # --- requests ---------------------------------------------------------------------------

    def _shard(self, request_id: str) -> Link:
        if len(self._links) == 1:
            return self._links[0]
        request_id = self._names.local(request_id)
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
        tags: Mapping[str, str] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Publisher:
        """Return the producing end of a request; open it with `async with`.

        `date` is what its messages are dated with (default: now). `agent_id` and `when_busy` say
        what happens while another request of the same agent runs: this one is refused with AgentBusy,
        waits (`open_timeout_s` at most), or has the other cancelled. `take_over` continues an open
        request whose publisher is gone: `next_seq` then says which item it wants next. `tags` (searched by `list`)
        and `metadata` (JSON, carried along) are what is said of it; a request taken over keeps its own. Raises
        SettingsError, InvalidArgument, InvalidRequestId, RouterClosed; opening raises what `Publisher.open` names.
        """
        request_id, settings, dated, agent_id, when_busy, take_over, tags, metadata = check(
            "StreamRouter.publish",
            request_id=request_id,
            settings=settings,
            date=date,
            agent_id=agent_id,
            when_busy=when_busy,
            take_over=take_over,
            tags=tags,
            metadata=metadata,
        )
        self._check_open()
        link = self._shard(request_id)
        claim = None
        if agent_id is not None:
            give_up = functools.partial(self._give_up, link, request_id)
            claim = AgentClaim(
                self._shard(agent_id), self._links, request_id, agent_id, when_busy, give_up, self._caller
            )
        chosen = self.config.streams if settings is None else load_settings(settings)
        dated = dated or _date_of(int(time.time()))
        labels = pack_labels(tags or {}, metadata or {})
        within = within_span(chosen)
        registration = Registration(
            request_id, packed(within), dated, agent_id, take_over, 0, 0, 1, None, 0, labels=labels
        )
        return Publisher(
            link,
            registration,
            within,
            self._budget,
            claim=claim,
            open_timeout_s=self.config.stream_actors.open_timeout_s,
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
        observer: bool = False,
    ) -> Subscription:
        """Return an asynchronous iterator over batches of a request's messages after a cursor.

        Any number of readers, anywhere, each with its own cursor. `coalesce` joins neighbouring
        pieces of a message in a batch. `format`: pydantic models, plain dicts, structs, packed bytes, or
        OpenAI chat-completion chunks. A request not opened yet is waited for, `wait_s` at most. With
        `ping_s`, a batch of one `ping` comes whenever nothing else has for so long. An `observer` never
        counts: not for the producer's credit, not as somebody who reads; one that lags gets what the log
        still holds (`retain_bytes_max`), behind a `gap` for what it does not. Raises
        InvalidArgument, InvalidRequestId, RouterClosed; reading raises what `Subscription.__anext__` names.
        """
        request_id, after, coalesce, format_, wait_s, ping_s, observer = check(
            "StreamRouter.subscribe",
            request_id=request_id,
            after=after,
            coalesce=coalesce,
            format=format,
            wait_s=wait_s,
            ping_s=ping_s,
            observer=observer,
        )
        self._check_open()
        shaper = Shaper(format_, coalesce=coalesce)
        return self._read(request_id, shaper, after, wait_s, ping_s, observer=observer)

    def _read(
        self,
        request_id: str,
        shaper: Shaper,
        after: int,
        wait_s: float,
        ping_s: float | None = None,
        *,
        observer: bool = False,
        falls_through: bool = False,
    ) -> Subscription:
        reader = self._reader(request_id, shaper, after, wait_s, ping_s, observer=observer)
        if falls_through and self.config.archive.folder is not None:
            link = self._shard(request_id)
            return OrArchived(reader, shaper, functools.partial(link.ask, "archived", request_id, *self._caller))
        return Subscription(reader)

    def _reader(
        self,
        request_id: str,
        shaper: Shaper,
        after: int,
        wait_s: float,
        ping_s: float | None = None,
        *,
        observer: bool = False,
        on_change: Callable[[], None] | None = None,
    ) -> Reader:
        return Reader(
            request_id,
            self._shard(request_id),
            self._pollers,
            shaper,
            after=shaper.begin(after),
            wait_s=wait_s,
            ping_s=ping_s,
            is_observer=observer,
            on_change=on_change,
        )

    async def _give_up(self, link: Link, request_id: str, detail: str) -> None:
        try:
            await self._cancel(link, request_id, detail=detail)
        except UnknownRequest:
            return  # not opened yet: its claim says so by itself
        except StreamRouterError as error:
            log.info("request %r could not be given up: %s", request_id, error)


@functools.lru_cache(maxsize=1)
def _date_of(second: int) -> str:
    """Return what messages of a request that was opened in a second are dated with: one text for all of them."""
    return iso_seconds(datetime.fromtimestamp(second, UTC))
