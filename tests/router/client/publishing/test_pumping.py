"""A source pumped into a request: what is sent, and how each side's end reaches the other."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from client_fakes import FakeRouter, door, until

from actors.errors import InvalidArgument, MalformedChunk, NotOpened, RequestCancelled, RequestEnded
from actors.protocol.frames import unpack
from router.client.publishing import pumping
from router.client.publishing.pumping import threaded
from router.client.sync import SyncPublisher


@pytest.fixture
def router() -> FakeRouter:
    return FakeRouter()


@pytest.fixture
async def client(router):
    client = door(router)
    yield client
    await client.close()


class Source:
    """Gives events, then waits for ever or raises; knows whether it was closed."""

    def __init__(self, *events, error=None, waits=False):
        self.events = list(events)
        self.error = error
        self.waits = waits
        self.closed = 0
        self.given = 0

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self.given < len(self.events):
            self.given += 1
            return self.events[self.given - 1]
        if self.error is not None:
            raise self.error
        if self.waits:
            await asyncio.Event().wait()
        raise StopAsyncIteration

    async def close(self):
        self.closed += 1


def end_of(router, request_id="req"):
    """How a publisher ended a request: (kind, stop reason or error type, text)."""
    kind, part, _ = [item for item in router.items.get(request_id, ()) if isinstance(item, list)][-1]
    body = unpack(part)
    return kind, body.get("stop_reason") or body.get("error_type"), body.get("message")


def has_ended(router, request_id="req"):
    return any(isinstance(item, list) and item[0] in ("finish", "fail") for item in router.items.get(request_id, ()))


async def sealing(router, awaitable, request_id="req"):
    """Await something that ends a request, and let the router confirm the end."""
    task = asyncio.ensure_future(awaitable)
    await until(lambda: has_ended(router, request_id) or task.done())
    router.say_publisher(request_id, "sealed", stop_reason="end_turn")
    return await asyncio.wait_for(task, 5)


# --- what is sent -------------------------------------------------------------------------------------


async def test_chunks_of_every_kind_are_sent_and_the_request_stays_open(client, router):
    stream = await client.publish("req").open()
    source = Source(b'{"a": 1}', '{"b": 2}', {"c": 3}, "data: [DONE]")
    assert await stream.pump(source) is None
    await stream.chunk(b'{"d": 4}')
    await until(lambda: len(router.items.get("req", ())) == 5)
    assert router.items["req"] == [b'{"a": 1}', b'{"b": 2}', b'{"c":3}', b"[DONE]", b'{"d": 4}']
    assert not source.closed, "it has ended by itself"


async def test_a_source_may_be_a_coroutine_a_manager_or_a_list(client, router):
    entered = []

    @asynccontextmanager
    async def manager():
        entered.append("in")
        yield Source(b"{}")
        entered.append("out")

    async def later():
        return manager()

    stream = await client.publish("req").open()
    for source in (later(), manager(), [b"{}"], (b"{}",), Source()):
        await stream.pump(source)
    await until(lambda: len(router.items.get("req", ())) == 4)
    assert entered == ["in", "out"] * 2


@pytest.mark.parametrize("source", [None, 5, "text", b"{}", {"a": 1}, iter([b"{}"]), object()])
async def test_what_is_no_source_is_refused_by_name_and_the_request_stays_open(client, source):
    stream = await client.publish("req").open()
    with pytest.raises(InvalidArgument, match=type(source).__name__):
        await stream.pump(source)
    await stream.chunk(b"{}")


async def test_a_source_that_would_stop_the_loop_is_refused_with_what_to_do(client):
    stream = await client.publish("req").open()
    with pytest.raises(InvalidArgument, match="asynchronous client"):
        await stream.pump(iter([b"{}"]))


async def test_a_frameworks_events_are_refused_where_the_provider_is_another(client):
    stream = await client.publish("req", {"provider": "gemini"}).open()
    source = Source(*RUN)
    with pytest.raises(InvalidArgument, match=r"openai-chat.*gemini"):
        await stream.pump(source)
    assert source.closed == 1
    await stream.chunk(b"{}")
    for provider in ("auto", "openai-chat"):
        await (await client.publish(provider, {"provider": provider}).open()).pump(Source(*RUN))


async def test_nothing_is_read_for_a_request_that_is_not_open(client):
    async def never():
        return Source()

    with pytest.raises(NotOpened):
        await client.publish("req").pump(never())
    gc.collect()  # a coroutine left behind would be a warning, and so an error


async def test_a_source_waits_while_its_request_has_no_credit(client, router):
    router.credit_bytes = 1000
    stream = await client.publish("req").open()
    source = Source(*[b'{"text": "' + b"x" * 50_000 + b'"}'] * 20)
    pumping = asyncio.ensure_future(stream.pump(source))
    await until(lambda: len(router.items.get("req", ())) >= 1)
    await asyncio.sleep(0.02)
    assert source.given < 10
    router.say_publisher("req", credit_bytes=1 << 22)
    await asyncio.wait_for(pumping, 5)
    assert source.given == 20


# --- one side's end reaches the other ---------------------------------------------------------------------


async def test_a_sources_error_ends_the_request_as_that_error_and_is_raised(client, router):
    stream = await client.publish("req").open()
    source = Source(b"{}", error=ConnectionError("the model went away; api_key=sk-0123456789abcdef"))
    with pytest.raises(ConnectionError, match="the model went away"):
        await sealing(router, stream.pump(source))
    kind, error_type, message = end_of(router)
    assert (kind, error_type) == ("fail", "ConnectionError")
    assert "the model went away" in message
    assert "sk-0123456789abcdef" not in message
    assert source.closed == 1
    with pytest.raises(RequestEnded):
        await stream.chunk(b"{}")


async def test_a_sources_error_leaves_the_block_as_it_is(client, router):
    async def produce():
        async with client.publish("req") as stream:
            await stream.pump(Source(error=ValueError("odd")))

    with pytest.raises(ValueError, match="odd"):
        await sealing(router, produce())
    assert end_of(router) == ("fail", "ValueError", "odd")


async def test_an_event_that_is_no_chunk_ends_the_request_by_name(client, router):
    stream = await client.publish("req").open()
    source = Source(b"{}", 5)
    with pytest.raises(MalformedChunk):
        await sealing(router, stream.pump(source))
    assert end_of(router)[:2] == ("fail", "MalformedChunk")
    assert source.closed == 1


@pytest.mark.parametrize("inside", [True, False])
async def test_a_cancel_of_the_request_closes_the_source(client, router, inside):
    source = Source(b"{}", waits=True)

    async def produce():
        if inside:
            async with client.publish("req") as stream:
                await stream.pump(source)
        else:
            await (await client.publish("req").open()).pump(source)

    task = asyncio.ensure_future(produce())
    await until(lambda: router.items.get("req"))
    router.say_publisher("req", cancel="now")
    with pytest.raises(RequestCancelled):
        await asyncio.wait_for(task, 5)
    assert source.closed == 1
    assert task.cancelling() == 0


async def test_a_request_that_ends_elsewhere_closes_a_source_read_in_another_task(client, router):
    source = Source(b"{}", waits=True)

    async def produce():
        async with client.publish("req") as stream:
            tasks.append(asyncio.ensure_future(stream.pump(source)))
            await asyncio.wait(tasks)

    tasks = []
    producing = asyncio.ensure_future(produce())
    await until(lambda: router.items.get("req"))
    router.say_publisher("req", "sealed", stop_reason="timeout_stall")
    for task in (producing, *tasks):
        with pytest.raises(RequestEnded, match="timeout_stall"):
            await asyncio.wait_for(task, 5)
    assert source.closed == 1


@pytest.mark.parametrize("inside", [True, False])
async def test_a_cancel_of_the_task_ends_the_request_by_name(client, router, inside):
    source = Source(b"{}", waits=True)

    async def produce():
        if inside:
            async with client.publish("req") as stream:
                await stream.pump(source)
        else:
            await (await client.publish("req").open()).pump(source)

    task = asyncio.ensure_future(produce())
    await until(lambda: router.items.get("req"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)
    await until(lambda: has_ended(router))
    assert end_of(router)[:2] == ("finish", "cancelled")
    assert source.closed == 1


async def test_the_end_of_another_request_leaves_a_pumped_one_open(client, router):
    source = Source(waits=True)
    inner = await client.publish("inner").open()

    async def produce():
        async with client.publish("outer"):
            await inner.pump(source)

    task = asyncio.ensure_future(produce())
    await until(lambda: router.handle.count("open") == 2)
    await asyncio.sleep(0.01)
    router.say_publisher("outer", cancel="now")
    with pytest.raises(RequestCancelled, match="outer"):
        await asyncio.wait_for(task, 5)
    assert source.closed == 1
    await inner.chunk(b"{}")
    assert not has_ended(router, "inner")


async def test_a_source_that_cannot_be_closed_does_not_hide_its_error(client, router, caplog, monkeypatch):
    monkeypatch.setattr(pumping, "CLOSE_DEADLINE_S", 0.01)

    class Stubborn(Source):
        async def close(self):
            await asyncio.Event().wait()

    class Broken(Source):
        async def close(self):
            raise RuntimeError("cannot")

    for number, kind in enumerate((Stubborn, Broken)):
        stream = await client.publish(f"req-{number}").open()
        with pytest.raises(ValueError, match="odd"):
            await sealing(router, stream.pump(kind(error=ValueError("odd"))), f"req-{number}")
    assert caplog.text.count("could not be closed") == 2


async def test_a_manager_that_swallows_errors_hides_none(client, router):
    @asynccontextmanager
    async def manager():
        with contextlib.suppress(ValueError):
            yield Source(b"{}", error=ValueError("odd"))

    stream = await client.publish("req").open()
    with pytest.raises(ValueError, match="odd"):
        await sealing(router, stream.pump(manager()))
    assert end_of(router) == ("fail", "ValueError", "odd")


# --- what a framework says of its run -----------------------------------------------------------------------


def event(name, run_id, **data):
    metadata = {"langgraph_node": "agent"}
    return {"event": name, "name": "lookup", "run_id": run_id, "data": data, "metadata": metadata}


def said(content, *calls):
    return SimpleNamespace(content=content, tool_calls=calls, id="m")


RUN = (
    event("on_chain_start", "run"),
    event("on_chat_model_end", "model", output=said("I look", {"name": "lookup", "args": {"a": 1}, "id": "c"})),
    event("on_tool_end", "tool", output=SimpleNamespace(content="found", tool_call_id="c", status="success")),
    event("on_chain_end", "run", output="done"),
)


def kinds(router):
    return ["chunk" if isinstance(item, bytes) else item[0] for item in router.items["req"]]


async def test_a_frameworks_run_is_steps_messages_tools_and_an_end(client, router):
    stream = await client.publish("req").open()
    assert await stream.pump(Source(*RUN)) == "done"
    await sealing(router, stream.finish())
    assert kinds(router) == [
        "step_start", "chunk", "chunk", "chunk", "tool_running", "message", "tool_running", "finish",
    ]  # fmt: skip
    assert end_of(router)[:2] == ("finish", "end_turn")


@pytest.mark.parametrize("after", ["a chunk", "a reason"])
async def test_the_reason_of_a_run_counts_where_nothing_follows_and_no_other_is_given(client, router, after):
    stream = await client.publish("req").open()
    await stream.pump(Source(*RUN))
    if after == "a chunk":
        await stream.chunk(b"{}")
    await sealing(router, stream.finish("max_tokens" if after == "a reason" else None))
    assert end_of(router)[1] == ("max_tokens" if after == "a reason" else None)


# --- sources without await ----------------------------------------------------------------------------------


async def test_the_synchronous_face_reads_such_a_source_in_a_thread(client, router):
    loop = asyncio.get_running_loop()

    def run(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(5)

    def produce():
        stream = SyncPublisher(client.publish("req"), run).open()
        stream.pump(iter([b"{}", b"[]"]))
        stream.pump(Source(b"{}"))

    await asyncio.to_thread(produce)
    await until(lambda: len(router.items.get("req", ())) == 3)


async def test_a_threads_source_is_closed_when_it_is_left():
    def generator():
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    closed: list[bool] = []
    events = threaded(generator())
    assert await anext(events) == 1
    await events.aclose()
    assert closed
