"""The four parties of a stream in one process, without Ray: publisher, router, stream actor, reader.

Each is the product's own code with an event loop of its own, whose turns are taken one by one, and they speak through
real Unix sockets. Only Ray is replaced: a handle's call runs in the callee's loop, and its answer comes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import select
import selectors
import time
from collections.abc import Callable, Coroutine, Iterator
from types import SimpleNamespace
from typing import Any, Self
from unittest import mock

import actors.stream.stream_actor
import actors.transport.line
import router.client.stream_router
import router.on_ray.actors
import router.on_ray.fleet
import router.on_ray.router_actor
from actors.stream.stream_actor import StreamActor
from router.client.stream_router import StreamRouter
from router.config import RouterConfig
from router.on_ray.router_actor import RouterActor

PUBLISHER, ROUTER, STREAM_ACTOR, READER = "publisher", "router", "stream actor", "reader"
NODE = "node"
SETTLE_DEADLINE_S = 20.0
PAUSE_S = 0.0005


class _Counted(selectors.DefaultSelector):
    """A selector that never waits, and counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:  # noqa: ARG002
        self.asked += 1
        return super().select(0)


class Party:
    """One process of the product: an event loop that takes a turn when it is told to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._selector = _Counted()
        self.loop = asyncio.SelectorEventLoop(self._selector)
        self._poll = select.poll()
        self._poll.register(self._selector.fileno(), select.POLLIN)  # type: ignore[attr-defined]  # epoll has one

    @property
    def turns(self) -> int:
        """How many turns of its loop were taken; each asks the system once for what has come."""
        return self._selector.asked

    @property
    def has_work(self) -> bool:
        """Whether its process would be running."""
        loop: Any = self.loop
        timers = loop._scheduled  # noqa: SLF001  # the loop has no public way to say so
        is_due = bool(timers) and timers[0].when() <= loop.time()
        return bool(loop._ready) or is_due or bool(self._poll.poll(0))  # noqa: SLF001  # as above

    def turn(self) -> None:
        """Take one turn of the loop."""
        self.loop.stop()
        self.loop.run_forever()

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begin something."""
        return self.loop.create_task(coroutine)


class _Handle:
    """An actor's handle: a method's `remote` runs it in the actor's loop."""

    def __init__(self, party: Party, make: Callable[[], Any]) -> None:
        self._party = party
        self._make = make
        self._made: Any = None
        self._actor_id = SimpleNamespace(hex=lambda: party.name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return SimpleNamespace(remote=lambda *arguments: self._call(name, arguments))

    def _call(self, name: str, arguments: tuple[Any, ...]) -> asyncio.Future[Any]:
        caller = asyncio.get_running_loop()
        answered: asyncio.Future[Any] = caller.create_future()

        def answer(result: Any, error: Exception | None) -> None:
            if answered.done():
                return
            if error is not None:
                answered.set_exception(error)
            else:
                answered.set_result(result)

        async def serve() -> None:
            result, raised = None, None
            try:
                if self._made is None:
                    self._made = self._make()
                result = await getattr(self._made, name)(*arguments)
            except Exception as error:  # noqa: BLE001  # it goes to whoever called, as with Ray
                raised = error
            caller.call_soon_threadsafe(answer, result, raised)

        self._party.loop.call_soon_threadsafe(lambda: self._party.spawn(serve()))
        return answered


class Parties:
    """The four, with so many open streams between them. Use it in a `with`."""

    def __init__(self, streams: int) -> None:
        self.all = [Party(name) for name in (PUBLISHER, ROUTER, STREAM_ACTOR, READER)]
        self._by_name = {party.name: party for party in self.all}
        given = {"transport": "auto", "stream_actors": {"max_actors": 1, "warm_actors": 1}}
        self._config = RouterConfig.model_validate(given)
        self._names = [f"request-{number}" for number in range(streams)]
        # What each publisher waits for, by number, and how many messages have come.
        self._wanted: dict[int, asyncio.Future[bytes]] = {}
        self.messages = 0
        self._stack = contextlib.ExitStack()

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._names)

    # --- beginning and end ------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Begin; return when all streams are open and have carried a chunk, and all have met."""
        for module, name, stand_in in self._in_place_of_ray():
            self._stack.enter_context(mock.patch.object(module, name, stand_in))
        make_router = lambda: RouterActor(self._config.model_dump_json(), 0)  # noqa: E731
        self._router = _Handle(self._by_name[ROUTER], make_router)
        self._clients = {name: self._client(name) for name in (PUBLISHER, READER)}
        for number, request_id in enumerate(self._names):
            self._by_name[PUBLISHER].spawn(self._publish(number, request_id))
        self._begin_to_read()
        self._settle(lambda: self._are_open() and self._are_reading())
        return self

    def _are_open(self) -> bool:
        return len(self._wanted) == len(self._names)

    def _begin_to_read(self) -> None:
        for request_id in self._names:
            self._by_name[READER].spawn(self._read(request_id))

    def _are_reading(self) -> bool:
        return True

    def __exit__(self, *_: object) -> None:
        """Throw everything away."""
        # What waits for an answer of one that ends before it would wait for ever, and is thrown away with its loop.
        logging.disable(logging.CRITICAL)
        for party in self.all:
            for task in asyncio.all_tasks(party.loop):
                task.cancel()
            party.loop.run_until_complete(party.loop.shutdown_default_executor())
            party.loop.close()
        gc.collect()
        logging.disable(logging.NOTSET)
        self._stack.close()

    def _client(self, name: str) -> StreamRouter:
        return StreamRouter(self._config, [self._router], is_owner=False, stops_ray=False, client_id=name)

    def _in_place_of_ray(self) -> Iterator[tuple[Any, str, Any]]:
        context = SimpleNamespace(get_node_id=lambda: NODE, current_actor=None)
        ray = SimpleNamespace(get_runtime_context=lambda: context, is_initialized=lambda: True)

        def make_stream_actor(_config: Any, _shard: int, actor_id: str, _me: Any) -> _Handle:
            make = lambda: StreamActor(actor_id, self._router, reach=self._config.reach)  # noqa: E731
            return _Handle(self._by_name[STREAM_ACTOR], make)

        for module in (
            actors.stream.stream_actor,
            actors.transport.line,
            router.client.stream_router,
            router.on_ray.fleet,
            router.on_ray.router_actor,
        ):
            yield module, "ray", ray
        yield router.on_ray.actors, "make_stream_actor", make_stream_actor
        yield router.on_ray.actors, "restarts", lambda: 0
        yield router.on_ray.actors, "find_stream_actors", lambda *_: {}

    def _work_once(self) -> None:
        is_idle = True
        for party in self.all:
            if party.has_work:
                is_idle = False
                party.turn()
        if is_idle:
            time.sleep(PAUSE_S)

    def _settle(self, is_done: Callable[[], bool]) -> None:
        until = time.monotonic() + SETTLE_DEADLINE_S
        while not is_done():
            if time.monotonic() > until:
                raise TimeoutError(f"the streams did not open within {SETTLE_DEADLINE_S:g} s")
            self._work_once()

    # --- what programs do -------------------------------------------------------------------

    async def _publish(self, number: int, request_id: str) -> None:
        loop = asyncio.get_running_loop()
        async with self._clients[PUBLISHER].publish(request_id, {"dialect": "chat"}) as stream:
            while True:
                wanted = self._wanted[number] = loop.create_future()
                await stream.chunk(await wanted)

    async def _read(self, request_id: str) -> None:
        async for batch in self._clients[READER].subscribe(request_id, format="dict"):
            self.messages += len(batch.messages)

    def give(self, number: int, chunk: bytes) -> None:
        """Let the publisher of a stream have a chunk to send."""
        self._wanted.pop(number).set_result(chunk)
