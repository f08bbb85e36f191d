"""The streaming interface: readers that wake, responses and ends, and named errors."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from pydantic import BaseModel

from actors.errors import InvalidRecord, MalformedChunk, RequestEnded, SettingsError
from actors.letta import StreamingServerInterface
from actors.messages import AssistantMessage, LettaMessage
from tests.actors.letta.loop_parts import DATE, ID, Recorder, content, returned, stored


async def read(interface: StreamingServerInterface) -> list[LettaMessage]:
    return [message async for message in interface.get_generator()]


async def test_pieces_from_another_thread_wake_the_reader_at_once() -> None:
    interface = StreamingServerInterface()
    interface.streaming_mode = True
    generator = interface.get_generator()
    for text in ("a", "b", "c"):
        waiting = asyncio.ensure_future(anext(generator))
        await asyncio.sleep(0)
        thread = threading.Thread(target=interface.process_chunk, args=(content(text), ID, DATE))
        thread.start()
        # Nothing else happens on this loop: only the push itself can wake it.
        message = await asyncio.wait_for(waiting, 5)
        thread.join()
        assert message.model_dump()["reasoning"] == text


async def test_a_generator_made_before_the_end_and_read_after_it_gives_all() -> None:
    interface = StreamingServerInterface()
    generator = interface.get_generator()
    interface.process_chunk(content("a"), ID, DATE)
    interface.step_yield()
    assert [message.model_dump()["reasoning"] async for message in generator] == ["a"]
    assert await read(interface) == []


async def test_a_waiting_reader_ends_when_another_thread_ends_the_stream() -> None:
    interface = StreamingServerInterface()
    reading = asyncio.ensure_future(read(interface))
    await asyncio.sleep(0)
    thread = threading.Thread(target=interface.step_yield)
    thread.start()
    assert await asyncio.wait_for(reading, 5) == []
    thread.join()


async def test_a_reader_that_gets_nothing_ends_after_the_timeout() -> None:
    interface = StreamingServerInterface()
    interface.timeout = 0.01
    assert await asyncio.wait_for(read(interface), 5) == []


def test_a_reader_whose_loop_is_gone_does_no_harm() -> None:
    interface = StreamingServerInterface()
    generator = interface.get_generator()

    async def leave() -> None:
        waiting = asyncio.ensure_future(anext(generator))
        await asyncio.sleep(0)
        waiting.cancel()

    asyncio.run(leave())
    interface.process_chunk(content("a"), ID, DATE)
    interface.step_yield()
    assert len(asyncio.run(read(interface))) == 1


async def test_chunks_may_be_sdk_objects() -> None:
    class Chunk(BaseModel):
        choices: list[dict[str, Any]]

    interface = StreamingServerInterface()
    assert (
        interface.process_chunk(Chunk(choices=content("a")["choices"]), ID, DATE, name="agent") == "reasoning_message"
    )
    interface.step_yield()
    (message,) = await read(interface)
    assert (message.id, message.date, message.name, message.run_id) == (ID, DATE, "agent", None)


async def test_step_complete_ends_a_stream_of_one_step() -> None:
    interface = StreamingServerInterface(multi_step=False)
    interface.process_chunk(content("a"), ID, DATE)
    interface.step_complete()
    with pytest.raises(RequestEnded, match="stream_start"):
        interface.process_chunk(content("b"), ID, DATE)
    assert len(await read(interface)) == 1
    interface.stream_start()
    assert interface.process_chunk(content("c"), ID, DATE) == "reasoning_message"


async def test_held_back_calls_come_out_when_the_stream_ends() -> None:
    interface = StreamingServerInterface()
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a": 1'}}
    assert interface.process_chunk({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}, ID, DATE) is None
    interface.stream_end()
    interface.step_yield()
    pieces = [message.model_dump()["tool_call"] for message in await read(interface)]
    assert "".join(piece.get("arguments", "") for piece in pieces) == '{"a": 1'
    assert pieces[0] == {"name": "f", "tool_call_id": "c"}


async def test_a_message_of_ones_own_can_be_pushed() -> None:
    interface = StreamingServerInterface()
    interface._push_to_buffer(AssistantMessage(id=ID, date=DATE, content="hi"))
    interface.step_yield()
    assert [message.model_dump()["content"] for message in await read(interface)] == ["hi"]


def test_a_streaming_interface_publishes_what_it_is_told() -> None:
    publisher = Recorder()
    interface = StreamingServerInterface(use_assistant_message=True, publish=publisher)
    interface.stream_start()
    interface.process_chunk(content("a"), ID, DATE)
    interface.process_chunk(content("b"), ID, DATE)
    interface.stream_end()
    interface.function_message("Running send_message()", stored(), 1)
    interface.function_message("Success: None", returned(), 2)
    interface.step_complete()
    interface.step_yield()
    interface.step_yield()
    assert [kind for kind, _ in publisher.sent] == [
        "step_start",
        "chunk",
        "chunk",
        "assistant_message",
        "tool_return_message",
        "step_end",
        "finish",
    ]
    assert publisher.sent[0][1] == {"message_id": ID, "date": "2025-05-01T12:00:00+00:00"}
    assert publisher.sent[3][1]["tool_call_id"] == publisher.sent[4][1]["tool_call_id"] == "c1"
    with pytest.raises(SettingsError, match="subscribe"):
        interface.get_generator()
    with pytest.raises(RequestEnded):
        interface.process_chunk(content("c"), ID, DATE)


def test_asserts_are_named_errors() -> None:
    interface = StreamingServerInterface()
    with pytest.raises(InvalidRecord, match="msg_obj"):
        interface.internal_monologue("x")
    with pytest.raises(InvalidRecord, match="msg_obj"):
        interface.function_message("Success: x")
    with pytest.raises(InvalidRecord, match="Nothing known"):
        interface.function_message("Nothing known", returned())
    with pytest.raises(InvalidRecord, match="message_date"):
        interface.process_chunk(content("a"), ID, "yesterday")  # type: ignore[arg-type]  # the wrong type is the test
    with pytest.raises(MalformedChunk):
        interface.process_chunk(["no", "chunk"], ID, DATE)
    with pytest.raises(InvalidRecord, match="LettaMessage"):
        interface._push_to_buffer("text")  # type: ignore[arg-type]  # the wrong type is the test
