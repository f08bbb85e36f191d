"""The queuing interface: a queue that wakes its reader, a list, and named errors."""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime
from typing import Any

import pytest

from actors.errors import InvalidRecord
from actors.letta import QueuingInterface
from tests.actors.letta.loop_parts import Recorder, returned, stored


async def test_the_queue_wakes_its_reader() -> None:
    interface = QueuingInterface(debug=False)
    got: list[Any] = []

    async def drain() -> None:
        got.extend([item async for item in interface.message_generator("api")])

    reading = asyncio.ensure_future(drain())
    await asyncio.sleep(0)
    threads = [threading.Thread(target=interface.error, args=("it broke",))]
    threads[0].start()
    await asyncio.wait_for(reading, 5)
    threads[0].join()
    assert got == [{"internal_error": "it broke"}]


def test_a_queuing_interface_publishes_what_it_is_told() -> None:
    publisher = Recorder()
    interface = QueuingInterface(debug=False, publish=publisher)
    interface.internal_monologue("Hm.", stored())
    interface.assistant_message("Hi")
    interface.function_message("Running send_message()", stored())
    interface.function_message("Success: None", returned())
    interface.function_message("Error: no", returned())
    interface.step_yield()
    interface.error("it broke")
    assert [kind for kind, _ in publisher.sent] == [
        "reasoning_message",
        "assistant_message",
        "tool_call_message",
        "tool_return_message",
        "tool_return_message",
        "finish",
        "fail",
    ]
    assert interface.to_list("api") == []


def test_wrong_arguments_are_named_errors() -> None:
    interface = QueuingInterface(debug=False)
    with pytest.raises(InvalidRecord, match="UTC"):
        interface.internal_monologue("x", stored(created_at=datetime(2025, 5, 1, 12)))  # noqa: DTZ001  # no zone is the test
    with pytest.raises(InvalidRecord, match="style"):
        interface.to_list("bogus")  # type: ignore[arg-type]  # the wrong value is the test
    with pytest.raises(InvalidRecord, match="msg_obj"):
        interface.assistant_message("to whom?")


def test_a_list_empties_the_queue_and_has_each_stored_message_once() -> None:
    interface = QueuingInterface(debug=False)
    message = stored()
    interface.internal_monologue("Hm.", message)
    interface.assistant_message("Hi")
    interface.step_yield()
    assert interface.to_list("obj") == [message]
    assert interface.to_list("obj") == []


def test_each_event_of_a_function_has_its_entry() -> None:
    interface = QueuingInterface(debug=False)
    for text in ("Running f()", "Ran f()", "Success: ok", "Error: no", "Anything else"):
        interface.function_message(text, returned())
    interface.function_message("Ran f()", returned(), include_ran_messages=True)
    entries = [
        {key: value for key, value in entry.items() if key not in ("id", "date")} for entry in interface.to_list("api")
    ]
    assert entries == [
        {"function_call": "f()"},
        {"function_return": "ok", "status": "success"},
        {"function_return": "no", "status": "error"},
        {"function_message": "Anything else"},
        {"function_call": "Function call returned: f()"},
    ]
