"""The reference's two interfaces by name: lists of calls, what the reference gives for them, and what is right."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from actors.errors import StreamRouterError
from actors.letta import Message, QueuingInterface, StreamingServerInterface
from tests.assemble import assembled, joined, load, traces

GOLDEN = traces("golden", "calls")
_CONSTRUCTOR = (
    "multi_step",
    "use_assistant_message",
    "assistant_message_tool_name",
    "assistant_message_tool_kwarg",
    "inner_thoughts_in_kwargs",
    "inner_thoughts_kwarg",
)
_ID = "message-6f1c2f4e-8a35-4f0e-9d5b-2b7f0c1d9e80"
_DATE = "2025-05-01T12:00:00+00:00"
_LIMIT_S = 2.0


def by_name(path: Path) -> str:
    return path.stem


def plain(item: Any) -> Any:
    return item.model_dump(mode="json") if isinstance(item, BaseModel) else item


class Runner:
    """Makes the calls of one trace; `outcomes` has a dict for each."""

    def __init__(self, trace: dict[str, Any]) -> None:
        self.settings = trace.get("settings") or {}
        self.is_streaming = trace["interface"] == "streaming"
        if self.is_streaming:
            flags = {key: self.settings[key] for key in _CONSTRUCTOR if key in self.settings}
            self.interface: Any = StreamingServerInterface(**flags)
            for key in ("streaming_mode", "nonstreaming_legacy_mode"):
                setattr(self.interface, key, self.settings.get(key, False))
        else:
            self.interface = QueuingInterface(debug=False)
        self.outcomes = [asyncio.run(self._call(dict(call))) for call in trace["calls"]]

    async def _call(self, call: dict[str, Any]) -> dict[str, Any]:
        name, holds = call.pop("call"), call.pop("hold", False)
        outcome: dict[str, Any] = {}
        if call.get("msg_obj"):
            call["msg_obj"] = Message.model_validate(call["msg_obj"])
        try:
            if name == "process_chunk":
                outcome["returned"] = self._process_chunk(call["chunk"])
            elif name in ("get_generator", "message_generator"):
                outcome.update(await self._drain(getattr(self.interface, name)(**call)))
            else:
                returned = getattr(self.interface, name)(**call)
                if returned is not None:
                    outcome["returned"] = [plain(item) for item in returned]
        except StreamRouterError as error:
            outcome["error"] = error
        if self.is_streaming and not holds and name != "get_generator":
            outcome["emitted"] = await self._taken()
        return outcome

    def _process_chunk(self, chunk: Any) -> str | None:
        given = self.settings
        date = datetime.fromisoformat(given.get("message_date", _DATE))
        returned: str | None = self.interface.process_chunk(
            chunk,
            given.get("message_id", _ID),
            date,
            expect_reasoning_content=given.get("expect_reasoning_content", False),
            name=given.get("name"),
        )
        return returned

    async def _drain(self, generator: Any) -> dict[str, Any]:
        got: list[Any] = []

        async def read() -> None:
            async for item in generator:
                got.append(plain(item))  # noqa: PERF401  # what came before a timeout counts

        try:
            await asyncio.wait_for(read(), _LIMIT_S)
        except TimeoutError:
            return {"returned": got, "ended": False}
        return {"returned": got, "ended": True}

    async def _taken(self) -> list[Any]:
        """Take out what is there, without waiting for more."""
        got: list[Any] = []
        generator = self.interface.get_generator()
        while True:
            item = asyncio.ensure_future(anext(generator, None))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if not item.done():
                item.cancel()
                return got
            message = item.result()
            if message is None:
                return got
            got.append(plain(message))

    @property
    def emitted(self) -> list[dict[str, Any]]:
        return [message for outcome in self.outcomes for message in outcome.get("emitted", ())]


def right(name: str) -> Runner:
    return Runner(load(Path(__file__).parents[2] / "traces" / "defects" / f"{name}.json"))


@pytest.mark.parametrize("path", GOLDEN, ids=by_name)
def test_golden_calls(path: Path) -> None:
    trace = load(path)
    runner = Runner(trace)
    for call, outcome, expected in zip(trace["calls"], runner.outcomes, trace["expected"], strict=True):
        assert ("error" in outcome) == ("error" in expected), call
        if "error" in expected or call["call"] == "process_chunk":
            continue
        for key in ("returned", "ended"):
            assert outcome.get(key) == expected.get(key), call
        if runner.is_streaming:
            assert outcome["emitted"] == expected["emitted"], call


@pytest.mark.parametrize("path", [path for path in GOLDEN if "streamed" in path.stem], ids=by_name)
def test_golden_streams_of_calls(path: Path) -> None:
    trace = load(path)
    runner = Runner(trace)
    expected = [message for outcome in trace["expected"] for message in outcome["emitted"]]
    assert [_without_otid(m) for m in joined(runner.emitted)] == [_without_otid(m) for m in joined(expected)]
    for outcome, wanted in zip(runner.outcomes, trace["expected"], strict=True):
        # Pieces may come a chunk earlier than from the reference, never later.
        if wanted.get("returned") is not None:
            assert outcome["returned"] is not None


def test_stream_ends_where_the_reference_does() -> None:
    for path in GOLDEN:
        trace = load(path)
        if trace["interface"] != "streaming":
            continue
        for place, expected in enumerate(trace["expected"]):
            if "active" in expected:
                part = Runner({**trace, "calls": trace["calls"][: place + 1]})
                runner = part.interface
                assert _ends(runner) is not expected["active"], (path.stem, place)


def _ends(interface: StreamingServerInterface) -> bool:
    async def end() -> bool:
        try:
            await asyncio.wait_for(anext(interface.get_generator(), None), 0.02)
        except TimeoutError:
            return False
        return True

    return asyncio.run(end())


def _without_otid(message: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in message.items() if key != "otid"}


# --- the defects ------------------------------------------------------------------------------------


def test_d20_json_content_of_the_second_response() -> None:
    calls = assembled([{**m, "otid": place} for place, m in enumerate(joined(right("D20-1").emitted))])["calls"]
    assert [(call["name"], call["arguments"]) for call in calls] == [("f", '{"a": 1}'), ("g", '{"a": 2}')]


def test_d28_receipt_of_a_streamed_message() -> None:
    assert [message["message_type"] for message in right("D28-1").emitted] == ["assistant_message"]


def test_d31_only_the_prefix_in_front_is_removed() -> None:
    assert right("D31-1").emitted[0]["tool_return"] == "The job ended with Success: 3 of 3"


def test_d32_returns_without_an_index() -> None:
    assert [(m["tool_return"], m["status"], m["otid"]) for m in right("D32-1").emitted] == [
        ("ok", "success", None),
        ("no", "error", None),
    ]


def test_d33_legacy_mode() -> None:
    assert [m.get("function_call") or m["content"] for m in right("D33-1").emitted] == [
        "f({'a': 1})",
        "send_message({'message': 'Hello'})",
        "Hello",
    ]


def test_d34_omitted_reasoning_and_no_content() -> None:
    first, second, third = (outcome["emitted"] for outcome in right("D34-1").outcomes)
    assert [(m["message_type"], m.get("reasoning"), m.get("state")) for m in [*first, *second, *third]] == [
        ("reasoning_message", "Said.", None),
        ("hidden_reasoning_message", None, "omitted"),
        ("hidden_reasoning_message", None, "omitted"),
        ("reasoning_message", "Hm.", None),
    ]


def test_d35_a_message_that_is_an_object() -> None:
    assert right("D35-1").emitted[0]["content"] == '{"a": true, "b": null}'


def test_d36_what_was_not_read_when_the_stream_ended() -> None:
    outcome = right("D36-1").outcomes[-1]
    assert outcome["ended"]
    assert [message["reasoning"] for message in outcome["returned"]] == ["a"]


def test_d37_stops_and_errors_in_the_queue() -> None:
    outcomes = right("D37-1").outcomes
    assert [outcome["returned"] for outcome in outcomes if "returned" in outcome] == [
        [],
        [{"internal_error": "a"}],
        [{"internal_error": "b"}],
    ]
    assert [type(outcome["error"]).__name__ for outcome in outcomes if "error" in outcome] == ["InvalidRecord"] * 2
