"""A router actor and stream actors without Ray: they answer as told, in the test's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from actors.protocol.calls import LocateCall, OpenAnswer, OpenCall, Registration, WatchCall
from actors.protocol.finding import ListAnswer, ListCall, Row
from actors.protocol.frames import pack, read, unpack_list
from actors.protocol.reads import NOTHING, Operation, PartState, PollCall, TellCall
from actors.protocol.states import News, PublisherState, ReaderState
from router.client.stream_router import StreamRouter
from router.config import RouterConfig

_numbers = itertools.count(1)
FIRST_NUMBER = 1_780_000_000_000_000


class Handle:
    """What Ray gives: `handle.method.remote(...)` is awaitable. `broken[method]` is called first, and may raise."""

    def __init__(self, target: Any) -> None:
        self._target = target
        self._actor_id = SimpleNamespace(hex=lambda: f"{id(target):x}")
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.broken: dict[str, Callable[..., Any]] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        async def call(*arguments: Any) -> Any:
            self.calls.append((name, arguments))
            await asyncio.sleep(0)
            if name in self.broken:
                self.broken[name](*arguments)
            return await getattr(self._target, name)(*arguments)

        return SimpleNamespace(remote=call)

    def count(self, method: str) -> int:
        return sum(1 for name, _ in self.calls if name == method)


class FakeRouter:
    """Says what a test lets it say; opens whatever comes, unless `refusals` names it."""

    def __init__(self) -> None:
        self.handle = Handle(self)
        self.incarnation = "first"
        self.phase = "unknown"  # of what it was told nothing of
        self.version = 0
        self.said: dict[tuple[str, str], tuple[int, Any]] = {}
        self.refusals: dict[str, tuple[str, str]] = {}
        self.opens_into: PublisherState | None = None
        self.credit_bytes = 1 << 20
        self.first_number = FIRST_NUMBER
        self.items: dict[str, list[Any]] = {}
        self.losses: list[str] = []
        self.actors: dict[str, FakeActor] = {}
        self.changed = asyncio.Event()
        self.listed: list[Row] = []
        self.has_listed = asyncio.Event()

    def say(self, *states: Any) -> None:
        for state in states:
            self.version += 1
            self.said[state.role, state.request_id] = (self.version, state)
        self.changed.set()

    def say_publisher(self, request_id: str, phase: str = "open", **parts: Any) -> None:
        base = PublisherState("p", request_id, 1, phase, 1, self.credit_bytes, None, None, None)
        self.say(base._replace(**parts))

    def place(self, request_id: str, actor: FakeActor, epoch: int = 1, created: int = 0) -> None:
        self.actors[actor.name] = actor
        self.say(ReaderState("r", request_id, "open", actor.name, epoch, created))

    def restart(self) -> None:
        self.incarnation += "'"
        self.version = 0
        self.said.clear()
        self.changed.set()

    def forget(self) -> None:
        """Forget the client as one that was silent, without a restart."""
        self.incarnation += "/2"
        self.version = 0
        self.changed.set()

    def _news(self, seen: Any) -> News:
        since = seen[1] if seen[0] == self.incarnation else 0
        return News(self.incarnation, self.version, [state for at, state in self.said.values() if at > since])

    async def open(self, frame: bytes) -> bytes:
        call = read(OpenCall, frame)
        errors = []
        for parts in call.registrations:
            refusal = self.refusals.get(parts[0])
            errors.append(refusal)
            if refusal is None:
                self.say_publisher(parts[0])
        numbers = [0 if refusal else self.first_number + at for at, refusal in enumerate(errors)]
        return pack(OpenAnswer(errors, numbers, list(self._news(call.seen))))

    def registrations(self, request_id: str) -> list[Registration]:
        """With what this request was to be opened, each time."""
        frames = [arguments[0] for name, arguments in self.handle.calls if name == "open"]
        found = [Registration(*parts) for frame in frames for parts in read(OpenCall, frame).registrations]
        return [registration for registration in found if registration.request_id == request_id]

    def asked_to_open(self, request_id: str) -> int:
        """How often this request was to be opened."""
        return len(self.registrations(request_id))

    async def feed(self, _client_id: str, seen: Any, *frames: bytes) -> bytes:
        for frame in frames:
            for request_id, _epoch, _first, _count, packed_items in unpack_list(frame):
                self.items.setdefault(request_id, []).extend(unpack_list(packed_items))
        return pack(self._news(seen))

    async def watch(self, frame: bytes) -> bytes:
        call = read(WatchCall, frame)
        if not self._news(call.seen).states and call.seen[0] in (None, self.incarnation):
            self.changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait(), call.wait_s)
        return pack(self._news(call.seen))

    async def locate(self, frame: bytes) -> bytes:
        call = read(LocateCall, frame)
        self.losses.extend(call.losses)
        states = [
            self.said[key][1] if (key := ("r", asked)) in self.said else ReaderState("r", asked, self.phase, None, 0)
            for asked in call.request_ids
        ]
        return pack(News(self.incarnation, self.version, states))

    def lists(self, request_id: str) -> None:
        """Have a request in the catalogue from now on."""
        number = FIRST_NUMBER + len(self.listed)
        self.listed.append(Row(request_id, number, "open", "host", None, b"", 0, None, None))
        self.has_listed.set()

    async def list(self, frame: bytes) -> bytes:
        call = read(ListCall, frame)
        if call.wait_s and not any(row.created > call.after for row in self.listed):
            self.has_listed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.has_listed.wait(), call.wait_s)
        rows = [row for row in self.listed if row.created > call.after][: call.limit]
        through = rows[-1].created if rows else call.after
        return pack(ListAnswer([*map(list, rows)], through, not self.listed or through >= self.listed[-1].created))

    async def stream_actor(self, actor_id: str) -> Any:
        actor = self.actors.get(actor_id)
        return None if actor is None else actor.handle

    async def suspect(self, actor_id: str) -> None:
        pass

    async def cancel(self, *_arguments: Any) -> Any:
        return None, True

    async def disown(self, *_arguments: Any) -> None:
        pass


class FakeActor:
    """A stream actor that gives what `bring` was told, one answer a poll."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.handle = Handle(self)
        self.operations: list[Any] = []
        self.answers: list[bytes] = []
        self.changed = asyncio.Event()

    def bring(self, *parts: Any) -> None:
        self.answers.append(pack(list(parts)))
        self.changed.set()

    async def poll(self, frame: bytes) -> bytes:
        call = read(PollCall, frame)
        self.operations += call.operations
        if not self.answers:
            self.changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait(), call.wait_s)
        return self.answers.pop(0) if self.answers else NOTHING

    async def tell(self, frame: bytes) -> None:
        self.operations += read(TellCall, frame).operations

    def said(self, kind: int) -> list[Any]:
        return [operation for operation in self.operations if operation[1] == kind]


class LogActor(FakeActor):
    """A stream actor that has logs: of each request so many messages, and perhaps its end."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.logs: dict[str, tuple[int, bool]] = {}
        self.readers: dict[int, list[Any]] = {}
        self._heard = 0

    def writes(self, request_id: str, count: int, *, ends: bool = False) -> None:
        self.logs[request_id] = (self.logs.get(request_id, (0, False))[0] + count, ends)
        self.changed.set()

    def _parts(self) -> list[Any]:
        for operation in self.operations[self._heard :]:
            if operation[1] in (Operation.SUBSCRIBE, Operation.OBSERVE):
                self.readers[operation[2]] = [operation[3], operation[4], False]
            elif operation[1] == Operation.DROP:
                self.readers.pop(operation[2], None)
        self._heard = len(self.operations)
        parts = []
        for number, reader in self.readers.items():
            request_id, sent, was_ended = reader
            count, ends = self.logs.get(request_id, (0, False))
            if sent < count or ends > was_ended:
                segments = [whole_message(seq_id, request_id) for seq_id in range(sent + 1, count + 1)]
                state = PartState.ENDED if ends else PartState.OPEN
                parts.append([number, int(state), None, 1, segments])
                reader[1:] = count, ends
        return parts

    async def poll(self, frame: bytes) -> bytes:
        self.operations += read(PollCall, frame).operations
        while not (parts := self._parts()):
            self.changed.clear()
            await self.changed.wait()
        return pack(parts)

    async def tell(self, frame: bytes) -> None:
        await super().tell(frame)
        self.changed.set()


def door(router: FakeRouter, client_id: str | None = None, **config: Any) -> StreamRouter:
    """Return a StreamRouter whose one router is a fake."""
    settings = RouterConfig.model_validate({"name": f"fake-{next(_numbers)}", **config})
    return StreamRouter(settings, [router.handle], is_owner=False, stops_ray=False, client_id=client_id)


def message(seq_id: int, text: str = "x", *, request_id: str = "req", texts: int = 1) -> list[Any]:
    """Return a segment of one assistant message, in so many pieces."""
    fields = {
        "message_type": "assistant_message", "id": "m", "date": "2026-01-01T00:00:00+00:00", "run_id": request_id,
    }  # fmt: skip
    return [seq_id, fields, [text] * texts]


def whole_message(seq_id: int, request_id: str) -> list[Any]:
    """Return a segment of one message that is whole by itself."""
    fields = {
        "message_type": "user_message", "id": f"m{seq_id}", "date": "2026-01-01T00:00:00+00:00", "run_id": request_id,
        "content": f"{request_id} {seq_id}",
    }  # fmt: skip
    return [seq_id, fields, [None]]


async def until(holds: Callable[[], Any], within_s: float = 5.0) -> None:
    """Let others run until something holds."""
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110  # what it waits for has no event
            await asyncio.sleep(0.001)
