"""The front door on a real Ray: publish, subscribe, resume, cancel, locate, describe; every error by its class."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import ray

from actors.errors import (
    AgentBusy,
    BufferFull,
    ChunkTooLarge,
    DuplicateRequest,
    InvalidRecord,
    InvalidRequestId,
    MalformedChunk,
    RequestCancelled,
    RequestEnded,
    RequestOpen,
    SettingsError,
    UnknownRequest,
)
from actors.messages import MESSAGE_ADAPTER
from actors.recording_format import read_recording
from router import StreamRouter, StreamSettings, unpack_batch

pytestmark = [pytest.mark.ray]

CHAT = StreamSettings(dialect="chat")
RECORDED = Path(__file__).parents[2] / "traces" / "recorded"


def text(content: str) -> dict:
    return {"choices": [{"index": 0, "delta": {"content": content}}]}


FINISH = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


async def publish(router, request_id, words=("Hello", " ", "you"), settings=CHAT):
    async with router.publish(request_id, settings) as stream:
        for word in words:
            await stream.chunk(text(word))
        await stream.chunk(FINISH)
    return stream


async def read(router, request_id, **options):
    messages = []
    async for batch in router.subscribe(request_id, **options):
        messages.extend(batch)
    return messages


def said(messages) -> str:
    return "".join(m.content for m in messages if m.message_type == "assistant_message")


async def test_a_reader_sees_each_message_once_in_order_and_one_end(router, request_id):
    reading = asyncio.create_task(read(router, request_id))  # before it is opened
    words = [f"{n} " for n in range(500)]
    stream = await publish(router, request_id, words)
    messages = await reading
    assert said(messages) == "".join(words)
    assert [m.seq_id for m in messages] == list(range(1, len(messages) + 1))
    assert [m.message_type for m in messages][-2:] == ["stop_reason", "usage_statistics"]
    assert stream.stop_reason == "end_turn"
    assert {m.run_id for m in messages} == {request_id}


async def test_late_readers_resume_anywhere_and_see_the_same(router, request_id):
    await publish(router, request_id, [f"{n} " for n in range(50)])
    whole = await read(router, request_id)
    for after in (0, 1, 25, len(whole) - 1, len(whole)):
        assert await read(router, request_id, after=after) == whole[after:]


async def test_forms_of_a_batch_say_the_same(router, request_id):
    await publish(router, request_id)
    models = await read(router, request_id)
    assert [MESSAGE_ADAPTER.validate_python(m) for m in await read(router, request_id, format="dict")] == models
    packed = [m async for batch in router.subscribe(request_id, format="packed") for m in unpack_batch(batch.packed)]
    assert [MESSAGE_ADAPTER.validate_python(m) for m in packed] == models
    joined = await read(router, request_id, coalesce=True)
    assert said(joined) == said(models)
    assert len(joined) < len(models)
    chunks = await read(router, request_id, format="openai")
    assert "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"]) == said(models)


async def test_two_readers_of_one_process_each_get_everything(router, request_id):
    first, second = (asyncio.create_task(read(router, request_id)) for _ in range(2))
    await publish(router, request_id)
    assert await first == await second


async def test_a_whole_agent_loop_and_bytes_text_and_dicts(router, request_id):
    async with router.publish(request_id, {"dialect": "chat"}) as stream:
        await stream.step_start(
            message_id="message-043066da-f210-4523-a749-0d4bfad4766d", date="2025-05-05T08:44:56+00:00", name="ada"
        )
        await stream.chunk(json.dumps(text("a")).encode())
        await stream.chunk("data: " + json.dumps(text("b")))
        await stream.chunk(FINISH)
        await stream.step_end()
        async with stream.tool_running():
            await stream.message(
                {"message_type": "tool_return_message", "tool_return": "42", "status": "success", "tool_call_id": "c1"}
            )
        await stream.finish("end_turn", {"prompt_tokens": 3, "completion_tokens": 4})
    messages = await read(router, request_id)
    assert said(messages) == "ab"
    assert messages[0].name == "ada"
    assert messages[0].otid == "043066da-f210-4523-a749-0d4bfad47600"
    returned = next(m for m in messages if m.message_type == "tool_return_message")
    assert (returned.tool_return, returned.tool_call_id) == ("42", "c1")
    assert (messages[-1].prompt_tokens, messages[-1].completion_tokens) == (3, 4)


async def test_the_bare_handle_pulls(router, request_id):
    await publish(router, request_id)
    place = await router.locate(request_id)
    first = await place.handle.pull.remote(request_id, 0, 2, 5.0)
    assert [m.seq_id for m in first] == [1, 2]
    rest = await place.handle.pull.remote(request_id, 2, 100, 5.0)
    assert [m.seq_id for m in rest] == [3, 4, 5]
    assert await place.handle.pull.remote(request_id, 5, 100, 5.0) == []
    with pytest.raises(UnknownRequest):
        await place.handle.pull.remote("nobody", 0, 1, 0.0)


@ray.remote(num_cpus=0)
def publish_recording(name: str, request_id: str, file: str) -> str:
    with StreamRouter.connect(name=name) as router, router.publish(request_id, {"dialect": "chat"}) as stream:
        for payload in read_recording(Path(file).read_bytes()):
            stream.chunk(payload)
        stream.finish()
        return stream.stop_reason


@ray.remote(num_cpus=0)
def read_text(name: str, request_id: str) -> str:
    with StreamRouter.connect(name=name) as router:
        return "".join(
            m.content for batch in router.subscribe(request_id) for m in batch if m.message_type == "assistant_message"
        )


async def test_tasks_publish_and_other_tasks_read_at_once(running_router, request_id):
    files = ["openai-text-6.sse", "deepseek-text-2.sse"]
    expected = json.loads((RECORDED / "expected.json").read_text())
    texts = [read_text.remote(running_router, f"{request_id}-{f}") for f in files]
    reasons = [publish_recording.remote(running_router, f"{request_id}-{f}", str(RECORDED / f)) for f in files]
    assert await asyncio.gather(*texts) == [expected[f]["text"] for f in files]
    assert await asyncio.gather(*reasons) == ["max_tokens", "end_turn"]


def test_the_synchronous_face(running_router, request_id):
    with StreamRouter.connect(name=running_router) as router:
        with router.publish(request_id, CHAT) as stream:
            stream.chunk(text("Hello"))
            stream.chunk(FINISH)
        messages = [m for batch in router.subscribe(request_id) for m in batch]
        assert said(messages) == "Hello"
        assert request_id in {r.request_id for r in router.describe().requests}
        with pytest.raises(UnknownRequest):
            router.cancel("nobody")
        router.forget(request_id)
        with pytest.raises(UnknownRequest):
            router.request(request_id)


async def test_a_request_that_was_forgotten_is_gone_and_its_id_is_free(router, request_id):
    async with router.publish(request_id, CHAT) as stream:
        await stream.chunk(text("Hello"))
        with pytest.raises(RequestOpen, match="has not ended; cancel it first"):
            await router.forget(request_id)
        await stream.chunk(FINISH)
    place = await router.locate(request_id)
    await router.forget(request_id)
    assert request_id not in (await place.handle.describe.remote())["sessions"]
    for gone in (router.request(request_id), router.forget(request_id), router.result(request_id)):
        with pytest.raises(UnknownRequest):
            await gone
    await publish(router, request_id, ["anew"])
    assert said(await read(router, request_id)) == "anew"


async def test_describe_names_who_runs_and_what_they_hold(router, request_id):
    async with router.publish(request_id, CHAT) as stream:
        await stream.chunk(text("x"))
        seen = await router.describe()
        assert len(seen.routers) == 2
        (mine,) = [r for r in seen.requests if r.request_id == request_id]
        assert mine.state == "open"
        assert mine.actor_id in {a.actor_id for a in seen.stream_actors}
        assert all(a.pid > 0 for a in seen.stream_actors if a.state == "ready")
        await stream.finish("end_turn")
    (mine,) = [r for r in (await router.describe()).requests if r.request_id == request_id]
    assert (mine.state, mine.stop_reason) == ("sealed", "end_turn")


async def test_events_that_no_adapter_knows_are_counted_and_end_nothing(router, request_id):
    async with router.publish(request_id, {"dialect": "chat", "provider": "anthropic-messages"}) as stream:
        await stream.chunk({"type": "message_start", "message": {"id": "m", "model": "x", "usage": {}}})
        await stream.chunk({"type": "never_heard_of"})
        await stream.chunk({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hi"}})
        await stream.finish("end_turn")
    assert said(await read(router, request_id)) == "Hi"
    counted = [actor.unknown_events for actor in (await router.describe()).stream_actors]
    assert any("never_heard_of" in name for counts in counted for name in counts)


async def test_a_silent_request_pings_who_asked_for_it(router, request_id):
    async with router.publish(request_id, CHAT) as stream:
        async for batch in router.subscribe(request_id, ping_s=0.05):
            assert [m.message_type for m in batch] == ["ping"]
            break
        await stream.chunk(FINISH)
    assert "ping" not in {m.message_type for m in await read(router, request_id)}


# --- cancel -----------------------------------------------------------------------------------------


async def test_cancel_interrupts_a_producer_whose_provider_stalls(router, request_id):
    cut_off = asyncio.Event()

    async def produce():
        try:
            async with router.publish(request_id, CHAT) as stream:
                await stream.chunk(text("a"))
                await asyncio.Event().wait()  # the provider stalls for ever
        except RequestCancelled:
            cut_off.set()

    producer = asyncio.create_task(produce())
    reading = asyncio.create_task(read(router, request_id))
    async for batch in router.subscribe(request_id):
        if said(batch):
            break
    assert await router.cancel(request_id)
    async with asyncio.timeout(60):
        await cut_off.wait()
        messages = await reading
    assert said(messages) == "a"
    assert messages[-2].stop_reason == "cancelled"
    assert not await router.cancel(request_id), "a second cancel finds nothing to do"
    await producer


async def test_a_reader_that_goes_away_is_no_cancel(router, request_id):
    async with router.publish(request_id, CHAT) as stream:
        await stream.chunk(text("a"))
        async for _ in router.subscribe(request_id):
            break
        await stream.chunk(text("b"))
        await stream.chunk(FINISH)
    assert said(await read(router, request_id)) == "ab"


async def test_a_failure_in_the_body_ends_the_request_as_an_error_without_its_secrets(router, request_id):
    async def produce():
        async with router.publish(request_id, CHAT) as stream:
            await stream.chunk(text("a"))
            raise ValueError("refused: Authorization: Bearer sk-abcdefghijklmnop1234")

    with pytest.raises(ValueError, match="refused"):
        await produce()
    messages = await read(router, request_id)
    error = next(m for m in messages if m.message_type == "error_message")
    assert error.error_type == "ValueError"
    assert "abcdefgh" not in error.model_dump_json()
    assert messages[-2].stop_reason == "error"


# --- bad input --------------------------------------------------------------------------------------


async def test_errors_are_named_and_harm_nobody(router, request_id):
    async with router.publish(request_id, {"dialect": "chat", "chunk_bytes_max": 1000}) as stream:
        await stream.chunk(text("a"))
        with pytest.raises(MalformedChunk):
            await stream.chunk(object())
        with pytest.raises(ChunkTooLarge):
            await stream.chunk(b"x" * 1001)
        with pytest.raises(InvalidRecord):
            await stream.message({"message_type": "no_such_message"})
        with pytest.raises(DuplicateRequest):
            async with router.publish(request_id, {"dialect": "letta"}):
                pass
        async with StreamRouter.connect(name=router.config.name) as other:
            with pytest.raises(DuplicateRequest):
                async with other.publish(request_id, {"dialect": "chat", "chunk_bytes_max": 1000}):
                    pass
        await stream.chunk(b"{malformed")
        await stream.chunk(text("b"))
        await stream.chunk(FINISH)
    with pytest.raises(RequestEnded):
        await stream.chunk(text("late"))
    with pytest.raises(RequestEnded):
        async with router.publish(request_id, CHAT):
            pass
    messages = await read(router, request_id)
    assert said(messages) == "ab"
    assert [m.error_type for m in messages if m.message_type == "error_message"] == ["malformed_chunk"]
    assert messages[-2].stop_reason == "error"


@pytest.mark.parametrize("bad", ["", "x" * 10_000, "line\nbreak", "nul\0"])
async def test_odd_request_ids_are_refused(router, bad):
    with pytest.raises(InvalidRequestId):
        async with router.publish(bad, CHAT):
            pass


async def test_any_printable_request_id_works(router, request_id):
    odd = f"{request_id}/агент 🤖 %2F ../x"
    await publish(router, odd)
    assert said(await read(router, odd)) == "Hello you"


async def test_unknown_requests_and_settings(router):
    with pytest.raises(UnknownRequest):
        await read(router, "nobody", wait_s=0.2)
    with pytest.raises(UnknownRequest):
        await router.locate("nobody", wait_s=0.2)
    with pytest.raises(UnknownRequest):
        await router.cancel("nobody")
    with pytest.raises(SettingsError, match="use_assistant_message"):
        router.publish("x", {"use_asistant_message": True})


# --- flow control -----------------------------------------------------------------------------------


async def test_a_reader_that_stops_makes_its_own_producer_wait_and_nobody_else(router, request_id):
    settings = {"dialect": "chat", "buffer_bytes_max": 20_000}
    sent = 0

    async def produce():
        nonlocal sent
        async with router.publish(request_id, settings) as stream:
            for n in range(2000):
                await stream.chunk(text(f"{n:04d} " * 4))
                sent += 1
            await stream.chunk(FINISH)

    producer = asyncio.create_task(produce())
    subscription = router.subscribe(request_id)
    await anext(subscription)
    other = f"{request_id}-other"
    assert said(await asyncio.wait_for(_both(router, other), 20)) == "Hello you"
    assert not producer.done()
    assert sent < 1500, "the producer waits for its reader"
    texts = []
    async for batch in subscription:
        texts += [m.content for m in batch if m.message_type == "assistant_message"]
    await producer
    assert sent == 2000
    assert texts[-1] == "1999 " * 4


async def _both(router, request_id):
    reading = asyncio.create_task(read(router, request_id))
    await publish(router, request_id)
    return await reading


async def test_without_credit_and_set_to_fail_the_producer_gets_an_error(router, request_id):
    async def produce():
        async with router.publish(
            request_id, {"dialect": "chat", "buffer_bytes_max": 5000, "when_full": "fail"}
        ) as stream:
            for _ in range(5000):
                await stream.chunk(text("word " * 20))

    with pytest.raises(BufferFull):
        await produce()
    messages = await read(router, request_id)
    assert messages[-2].stop_reason == "error"


async def test_drop_oldest_never_waits_and_says_what_is_missing(router, request_id):
    settings = {"dialect": "chat", "buffer_bytes_max": 5000, "when_full": "drop_oldest"}
    async with router.publish(request_id, settings) as stream:
        for n in range(2000):
            await stream.chunk(text(f"{n} "))
        await stream.chunk(FINISH)
    batches = [batch async for batch in router.subscribe(request_id)]
    assert batches[0].gap is not None
    first = batches[0][0].seq_id
    assert batches[0].gap == (1, first - 1)
    assert batches[-1].end


# --- one agent, several requests ----------------------------------------------------------------------


async def test_a_second_request_of_an_agent_is_rejected_queued_or_interrupts(router, request_id):
    ids = [f"{request_id}-{n}" for n in range(6)]
    assert len({router._shard(one) for one in ids}) == 2, "requests of one agent may live at different routers"
    with pytest.raises(RequestCancelled):  # noqa: PT012  # the cancel comes in the midst of it
        async with router.publish(ids[0], CHAT, agent_id="ada") as first:
            await first.chunk(text("a"))
            with pytest.raises(AgentBusy):
                async with router.publish(ids[1], CHAT, agent_id="ada"):
                    pass
            queued = asyncio.create_task(_publish_as(router, ids[2], "queue"))
            await asyncio.sleep(0)
            interrupting = asyncio.create_task(_publish_as(router, ids[3], "interrupt"))
            await asyncio.Event().wait()
    async with asyncio.timeout(20):
        results = await asyncio.gather(queued, interrupting, return_exceptions=True)
    assert results[1] is None
    assert said(await read(router, ids[3])) == "Hello"


async def _publish_as(router, request_id, when_busy):
    async with router.publish(request_id, CHAT, agent_id="ada", when_busy=when_busy) as stream:
        await stream.chunk(text("Hello"))
        await stream.chunk(FINISH)
