"""Whatever one caller hands over, nobody beside it loses a message, and each call has an answer in time.

Every public entry is called with a table of values that make no sense there, in the very process, and through the
very door, whose other streams must be whole. What a value may do is be refused by name, or be taken where it
happens to be allowed; never another exception, never silence.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import itertools
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import ray
from ray.exceptions import RayError

from actors.errors import StreamRouterError
from router import StreamRouter, StreamSettings

pytestmark = [pytest.mark.ray]

CHAT = StreamSettings(dialect="chat")
# What a call may take beyond the deadline that it was given: much, on a busy machine. What is looked for is no answer.
SLACK_S = 30.0
WAIT_S = 0.2
OPEN_TIMEOUT_S = 30.0
AT_A_TIME = 24
INNOCENTS = 4
WORDS = 60
PACE_S = 0.01

_numbers = itertools.count(1)


# --- the values -------------------------------------------------------------------------------------------


class Unspeakable:
    """An object that fails whatever one does with it."""

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        raise RuntimeError("no word of me")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("like nobody")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")


class Model:
    """Looks like an SDK's object, and is none."""

    def model_dump(self, **_: Any) -> Any:
        raise RuntimeError("cannot be dumped")


class Number(int):
    """A number that is no plain one."""

    def __lt__(self, other: object) -> bool:
        raise RuntimeError("cannot be compared")


@dataclasses.dataclass
class Nested:
    inner: Any


def _endless() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


VALUES: dict[str, Any] = {
    "None": None,
    "True": True,
    "minus one": -1,
    "a fraction": 1.5,
    "not a number": float("nan"),
    "infinity": float("inf"),
    "a huge number": 10**30,
    "a number of a class": Number(7),
    "a number as text": "7",
    "empty text": "",
    "long text": "x" * 200_000,
    "half a character": "\ud800",
    "a null character": "a\0b",
    "lines": "a\r\nb",
    "bytes": b"\xff\xfe",
    "much": b"{" + b"x" * 100_000,
    "a list": ["x"],
    "an endless list": _endless(),
    "a set": {1, 2},
    "a mapping": {"a": object()},
    "keys that are no text": {1: {2: {(3,): 4}}},
    "a decimal": Decimal("1e400"),
    "a date": datetime.max.replace(tzinfo=UTC),
    "an object": object(),
    "the unspeakable": Unspeakable(),
    "a model": Model(),
    "a nested object": Nested(Nested(object())),
    "a class": StreamSettings,
    "a function": len,
    "an error": ValueError("x"),
    "a generator": (number for number in ()),
}

# --- the entries ------------------------------------------------------------------------------------------

Call = Callable[[StreamRouter, Any], Awaitable[Any]]


def _new_id() -> str:
    return f"hostile-{next(_numbers)}"


async def _open(router: StreamRouter, request_id: Any = None, settings: Any = CHAT, **options: Any) -> None:
    stream = await router.publish(_new_id() if request_id is None else request_id, settings, **options).open()
    await stream.finish()


async def _read(router: StreamRouter, request_id: Any, **options: Any) -> None:
    async for _ in router.subscribe(request_id, **{"wait_s": WAIT_S, **options}):
        break


async def _say(router: StreamRouter, say: Callable[[Any], Awaitable[Any]]) -> None:
    async with router.publish(_new_id(), CHAT) as stream:
        await stream.chunk(_text("before "))
        await say(stream)


async def _pump(router: StreamRouter, source: Any) -> None:
    try:
        await _say(router, lambda stream: stream.pump(source))
    except RuntimeError:
        if not isinstance(source, Unspeakable):  # what a source itself raises comes out as it is
            raise


async def _first(messages: AsyncIterator[Any]) -> None:
    async for _ in messages:
        break


async def _result(router: StreamRouter, request_ids: Any, **options: Any) -> None:
    await router.result(request_ids, **{"wait_s": WAIT_S, **options})


async def _enter(name: Any, **options: Any) -> None:
    async with StreamRouter.connect(name, **options):
        pass


async def _enter_started(config: Any, **options: Any) -> None:
    if config is not None:  # which means the default one
        async with StreamRouter.start(config, **options):
            pass


async def _shut(router: StreamRouter, say: Callable[[Any], Any]) -> None:
    """Say something to a publisher that was never opened."""
    found = say(router.publish(_new_id(), CHAT))
    if asyncio.iscoroutine(found):
        await found


async def _agent(_given: Any) -> AsyncIterator[Any]:
    yield _text("said")


async def _start(router: StreamRouter, agent: Any, *arguments: Any, **options: Any) -> None:
    await router.start(agent, *arguments, actors=1, **options)


async def _map(router: StreamRouter, agent: Any, inputs: Any, **options: Any) -> None:
    await router.map(agent, inputs, actors=1, **options)


# Workers cannot import a test's module: what they run of it comes along.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


async def _pull(router: StreamRouter, *arguments: Any, **named: Any) -> None:
    location = await router.locate("innocent-0", wait_s=SLACK_S)
    try:
        await location.handle.pull.remote(*arguments, **named)
    except RayError as error:
        cause = getattr(error, "cause", None)
        if not isinstance(cause, StreamRouterError):
            raise


ENTRIES: dict[str, dict[str, Call]] = {
    "publish": {
        "request_id": lambda router, value: _open(router, value if value is not None else []),
        "settings": lambda router, value: _open(router, settings=value),
        "date": lambda router, value: _open(router, date=value),
        "agent_id": lambda router, value: _open(router, agent_id=value),
        "when_busy": lambda router, value: _open(router, agent_id=_new_id(), when_busy=value),
        "take_over": lambda router, value: _open(router, take_over=value),
        "tags": lambda router, value: _open(router, tags=value),
        "metadata": lambda router, value: _open(router, metadata=value),
    },
    "subscribe": {
        "request_id": _read,
        "after": lambda router, value: _read(router, "innocent-0", after=value),
        "coalesce": lambda router, value: _read(router, "innocent-0", coalesce=value),
        "format": lambda router, value: _read(router, "innocent-0", format=value),
        "wait_s": lambda router, value: _read(router, "innocent-0", wait_s=value),
        "ping_s": lambda router, value: _read(router, "innocent-0", ping_s=value),
        "observer": lambda router, value: _read(router, "innocent-0", observer=value),
    },
    "reading": {
        "result request_ids": _result,
        "result raise_failed": lambda router, value: _result(router, "nobody", raise_failed=value),
        "result wait_s": lambda router, value: _result(router, "nobody", wait_s=value),
        "result progress": lambda router, value: _result(router, ["nobody"], progress=value),
        "messages request_id": lambda router, value: _first(router.messages(value, wait_s=WAIT_S)),
        "messages after": lambda router, value: _first(router.messages("innocent-0", after=value)),
        "messages coalesce": lambda router, value: _first(router.messages("innocent-0", coalesce=value)),
        "messages wait_s": lambda router, value: _first(router.messages("nobody", wait_s=value)),
        "messages observer": lambda router, value: _first(router.messages("innocent-0", observer=value)),
        "show request_ids": lambda router, value: router.show(value, wait_s=WAIT_S),
        "show wait_s": lambda router, value: router.show("nobody", wait_s=value),
    },
    "finding": {
        "list agent": lambda router, value: router.list(agent=value),
        "list tag": lambda router, value: router.list(tag=value),
        "list state": lambda router, value: router.list(state=value),
        "list since": lambda router, value: router.list(since=value),
        "list after": lambda router, value: router.list(after=value),
        "list limit": lambda router, value: router.list(limit=value),
        "list newest_first": lambda router, value: router.list(newest_first=value),
        "request request_id": lambda router, value: router.request(value),
        "merge request_ids": lambda router, value: _first(router.merge(value)),
        "merge agent": lambda router, value: _first(router.merge(agent=value, follow=False)),
        "merge tag": lambda router, value: _first(router.merge(tag=value, follow=False)),
        "merge all": lambda router, value: _first(router.merge(all=value, follow=False)),
        "merge since": lambda router, value: _first(router.merge(all=True, since=value, follow=False)),
        "merge follow": lambda router, value: _first(router.merge("innocent-0", follow=value)),
        "merge after": lambda router, value: _first(router.merge("innocent-0", after=value)),
        "merge coalesce": lambda router, value: _first(router.merge("innocent-0", coalesce=value)),
        "merge wait_s": lambda router, value: _first(router.merge("nobody", wait_s=value)),
        "merge observer": lambda router, value: _first(router.merge("innocent-0", observer=value)),
    },
    "doors": {
        "connect name": lambda _, value: _enter(value),
        "connect namespace": lambda router, value: _enter(router.config.name, namespace=value),
        "connect address": lambda router, value: _enter(router.config.name, address=value),
        "connect token": lambda router, value: _enter(router.config.name, token=value),
        "start config": lambda _, value: _enter_started(value),
        "start token": lambda router, value: _enter_started(router.config, token=value),
    },
    "control": {
        "cancel request_id": lambda router, value: router.cancel(value),
        "cancel after_step": lambda router, value: router.cancel("nobody", after_step=value),
        "cancel detail": lambda router, value: router.cancel("nobody", detail=value),
        "forget request_id": lambda router, value: router.forget(value),
        "locate request_id": lambda router, value: router.locate(value, wait_s=WAIT_S),
        "locate wait_s": lambda router, value: router.locate("innocent-0", wait_s=value),
        "overview streams_max": lambda router, value: router.overview(value),
    },
    "publisher": {
        "chunk": lambda router, value: _say(router, lambda stream: stream.chunk(value)),
        "chunks": lambda router, value: _say(router, lambda stream: stream.chunks(value)),
        "pump": _pump,
        "message": lambda router, value: _say(router, lambda stream: stream.message(value)),
        "message type": lambda router, value: _say(router, lambda stream: stream.message({"message_type": value})),
        "tool return": lambda router, value: _say(
            router,
            lambda stream: stream.message(
                {"message_type": "tool_return_message", "tool_return": value, "status": "success", "tool_call_id": "c"}
            ),
        ),
        "step_start id": lambda router, value: _say(router, lambda stream: stream.step_start(message_id=value)),
        "step_start date": lambda router, value: _say(router, lambda stream: stream.step_start(date=value)),
        "step_start name": lambda router, value: _say(router, lambda stream: stream.step_start(name=value)),
        "step_start step": lambda router, value: _say(router, lambda stream: stream.step_start(step_id=value)),
        "finish reason": lambda router, value: _say(router, lambda stream: stream.finish(value)),
        "finish usage": lambda router, value: _say(router, lambda stream: stream.finish(usage=value)),
        "finish nested usage": lambda router, value: _say(
            router, lambda stream: stream.finish(usage={"details": {"of": value}})
        ),
        "fail type": lambda router, value: _say(router, lambda stream: stream.fail(value, "text")),
        "fail message": lambda router, value: _say(router, lambda stream: stream.fail("type", value)),
        "fail detail": lambda router, value: _say(router, lambda stream: stream.fail("type", "text", value)),
    },
    "publisher never opened": {
        "chunk": lambda router, value: _shut(router, lambda stream: stream.chunk(value)),
        "message": lambda router, value: _shut(router, lambda stream: stream.message(value)),
        "pump": lambda router, value: _shut(router, lambda stream: stream.pump(value)),
        "step_end": lambda router, _: _shut(router, lambda stream: stream.step_end()),
        "finish": lambda router, value: _shut(router, lambda stream: stream.finish(usage=value)),
        "fail": lambda router, value: _shut(router, lambda stream: stream.fail(value, value)),
    },
    "agents": {
        "start agent": _start,
        "start argument": lambda router, value: _start(router, _agent, value),
        "start request_id": lambda router, value: _start(router, _agent, 1, request_id=value or []),
        "start settings": lambda router, value: _start(router, _agent, 1, settings=value),
        "start agent_id": lambda router, value: _start(router, _agent, 1, agent_id=value),
        "start tags": lambda router, value: _start(router, _agent, 1, tags=value),
        "start metadata": lambda router, value: _start(router, _agent, 1, metadata=value),
        "start retries": lambda router, value: _start(router, _agent, 1, retries=value),
        "start ray_options": lambda router, value: _start(router, _agent, 1, ray_options=value),
        "run cancel": lambda router, value: router.start(_agent, actors=1).cancel(value),
        "run wait_s": lambda router, value: _first(router.start(_agent, actors=1).messages(wait_s=value)),
        "map agent": lambda router, value: _map(router, value, [1]),
        "map inputs": lambda router, value: _map(router, _agent, value),
        "map concurrency": lambda router, value: _map(router, _agent, [1], concurrency=value),
        "map name": lambda router, value: _map(router, _agent, [1], name=value or []),
    },
    "pull": {
        "request_id": _pull,
        "after_seq": lambda router, value: _pull(router, "innocent-0", value, wait_s=WAIT_S),
        "max_messages": lambda router, value: _pull(router, "innocent-0", 0, value, wait_s=WAIT_S),
        "wait_s": lambda router, value: _pull(router, "innocent-0", 0, 1, value),
        "reader_id": lambda router, value: _pull(router, "innocent-0", 0, 1, WAIT_S, value),
    },
}

# Ray pickles the arguments of a bare handle: what it cannot pickle, or the actor not find, never comes to us.
UNPICKLED = {"a generator", "the unspeakable", "a nested object", "a number of a class", "a model"}
# These are waits that were asked for.
LONG_WAITS = {"wait_s": {"infinity", "a huge number", "a number of a class"}}


# --- the innocents ----------------------------------------------------------------------------------------


def _text(content: str) -> bytes:
    return json.dumps({"choices": [{"index": 0, "delta": {"content": content}}]}).encode()


async def _publish_innocent(router: StreamRouter, request_id: str, go_on: asyncio.Event) -> str:
    """Publish until told to stop, and at least so many words; return what was said."""
    said = []
    async with router.publish(request_id, CHAT) as stream:
        for number in itertools.count():
            if number >= WORDS and go_on.is_set():
                break
            said.append(f"{request_id}:{number} ")
            await stream.chunk(_text(said[-1]))
            await asyncio.sleep(PACE_S)
    return "".join(said)


async def _read_innocent(router: StreamRouter, request_id: str) -> tuple[str, list[int], str | None]:
    read, seqs, stop_reason = [], [], None
    async for batch in router.subscribe(request_id, format="dict"):
        for message in batch:
            seqs.append(message["seq_id"])
            if message["message_type"] == "assistant_message":
                read.append(message["content"])
        stop_reason = batch.stop_reason or stop_reason
    return "".join(read), seqs, stop_reason


@contextlib.asynccontextmanager
async def innocents(router: StreamRouter, prefix: str) -> AsyncIterator[list[str]]:
    """Run streams beside what happens inside, and see afterwards that they are whole."""
    may_end = asyncio.Event()
    request_ids = [f"{prefix}-{number}" for number in range(INNOCENTS)]
    publishing = [asyncio.create_task(_publish_innocent(router, request_id, may_end)) for request_id in request_ids]
    reading = [asyncio.create_task(_read_innocent(router, request_id)) for request_id in [*request_ids, *request_ids]]
    try:
        yield request_ids
        may_end.set()
        async with asyncio.timeout(60):
            said = await asyncio.gather(*publishing)
            read = await asyncio.gather(*reading)
    finally:
        for task in [*publishing, *reading]:
            task.cancel()
    for (text, seqs, stop_reason), right in zip(read, [*said, *said], strict=True):
        assert text == right
        assert seqs == list(range(1, len(seqs) + 1))
        assert stop_reason == "incomplete"


async def _answer(call: Callable[[], Awaitable[Any]], deadline_s: float, room: asyncio.Semaphore) -> str | None:
    """Return what is wrong with how a call was answered."""
    async with room:
        try:
            async with asyncio.timeout(deadline_s + SLACK_S) as limit:
                await call()
        except StreamRouterError:
            return None
        except TimeoutError:
            return "no answer" if limit.expired() else "a TimeoutError"
        except Exception as error:  # noqa: BLE001  # that is what is looked for
            return f"{type(error).__name__}: {str(error)[:100]}"
        return None


@pytest.mark.parametrize("entry", ENTRIES)
async def test_an_entry_refuses_what_makes_no_sense_and_its_neighbours_are_whole(router, entry):
    prefix = f"innocent-{entry}"
    wrong = {}
    async with innocents(router, prefix) as request_ids, _named_innocent(router):
        room = asyncio.Semaphore(AT_A_TIME)
        deadline_s = OPEN_TIMEOUT_S if entry.startswith(("publish", "agents")) else WAIT_S
        calls = {}
        for parameter, call in ENTRIES[entry].items():
            for name, value in VALUES.items():
                if entry == "pull" and name in UNPICKLED:
                    continue
                if parameter.endswith("wait_s") and name in LONG_WAITS["wait_s"]:
                    continue
                calls[f"{parameter} = {name}"] = _answer(
                    lambda call=call, value=value: call(router, value), deadline_s, room
                )
        answers = await asyncio.gather(*calls.values())
        wrong = {what: why for what, why in zip(calls, answers, strict=True) if why is not None}
        assert request_ids
    assert not wrong, f"{len(wrong)} of {len(calls)}: {dict(itertools.islice(wrong.items(), 12))}"


@contextlib.asynccontextmanager
async def _named_innocent(router: StreamRouter) -> AsyncIterator[None]:
    """Let there be the request that hostile readers name."""
    may_end = asyncio.Event()
    publishing = asyncio.create_task(_publish_innocent_or_find(router, may_end))
    try:
        await router.locate("innocent-0", wait_s=SLACK_S)
        yield
    finally:
        may_end.set()
        await publishing


async def _publish_innocent_or_find(router: StreamRouter, may_end: asyncio.Event) -> None:
    with contextlib.suppress(StreamRouterError):  # an earlier test's is still readable: that will do
        await _publish_innocent(router, "innocent-0", may_end)


RAW = ("open", "feed", "watch", "locate", "claim", "report")


async def test_a_router_refuses_frames_that_are_none_and_its_clients_are_whole(router):
    """Another program that speaks to the actors' own methods, and badly."""
    handle = router._handles[0]
    frames = (b"", b"\xc1", b"\xff" * 100, b"\x93\x01", None, 7, "text", [[]], {"a": 1})
    wrong = {}
    async with innocents(router, "innocent-raw"):
        for method in RAW:
            for frame in frames:
                arguments = (frame, frame) if method in ("feed", "report") else (frame,)
                try:
                    async with asyncio.timeout(SLACK_S):
                        await getattr(handle, method).remote(*arguments)
                except RayError as error:
                    cause = getattr(error, "cause", None)
                    if not isinstance(cause, StreamRouterError):
                        wrong[f"{method}({frame!r})"] = repr(cause)[:100]
                except TimeoutError:
                    wrong[f"{method}({frame!r})"] = "no answer"
    assert not wrong, wrong


def test_the_synchronous_face_refuses_the_same_by_the_same_names(running_router):
    found: collections.Counter[str] = collections.Counter()
    wrong = {}

    def tried(what: str, call: Callable[[], Any]) -> None:
        try:
            call()
        except StreamRouterError as error:
            found[type(error).__name__] += 1
        except Exception as error:  # noqa: BLE001  # that is what is looked for
            wrong[what] = f"{type(error).__name__}: {str(error)[:100]}"

    with StreamRouter.connect(name=running_router) as router, router.publish(_new_id(), CHAT) as stream:
        for name, value in VALUES.items():
            tried(f"cancel {name}", lambda value=value: router.cancel(value))
            tried(f"after {name}", lambda value=value: next(router.subscribe(_new_id(), after=value, wait_s=0.01)))
            tried(f"chunk {name}", lambda value=value: stream.chunk(value))
            tried(f"message {name}", lambda value=value: stream.message(value))
            tried(f"result {name}", lambda value=value: router.result(value, wait_s=0.01))
            tried(f"raise_failed {name}", lambda value=value: router.result("nobody", raise_failed=value))
            tried(f"messages {name}", lambda value=value: next(router.messages("nobody", after=value)))
            tried(f"show {name}", lambda value=value: router.show(value))
            tried(f"locate {name}", lambda value=value: router.locate(value))
            tried(f"overview {name}", lambda value=value: router.overview(value))
            tried(f"publish {name}", lambda value=value: router.publish("nobody", value, date=value))
        stream.chunk(_text("well"))
    assert not wrong, wrong
    assert found["InvalidArgument"] > len(VALUES) // 2
    assert stream.stop_reason in ("incomplete", "error")  # of chunks that were text, but no JSON
