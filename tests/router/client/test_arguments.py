"""Every parameter of every public call: what is allowed passes as a plain value, what is not is refused by name."""

from __future__ import annotations

import enum
import inspect
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from client_fakes import FakeRouter, door

from actors.errors import InvalidArgument, InvalidRequestId, StreamRouterError
from actors.settings import StreamSettings
from router.client.arguments import CALLS, check
from router.client.launch.agent_run import AgentRun
from router.client.publishing.publisher import Publisher
from router.client.stream_router import StreamRouter
from router.config import RouterConfig


class Hostile:
    """Fails however it is looked at."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__
    __index__ = __repr__
    __len__ = __repr__
    __iter__ = __repr__
    __float__ = __repr__
    __hash__ = None  # type: ignore[assignment]


class Text(str):
    __slots__ = ()


class Name(enum.StrEnum):
    REQ = "req-1"


LAST_DAY = datetime.max.replace(tzinfo=UTC)
HOSTILE: list[Any] = [
    Hostile(), object(), None, ["x"], {"x": 1}, {1, 2}, b"bytes", 1.5, -1, 10**30, float("nan"), float("inf"), True,
    "", "\ud800", "nul\0", "x" * 100_000, "yesterday", "bad", "7", Path("x"), LAST_DAY,
    lambda: None, type, Ellipsis,
]  # fmt: skip
# What is allowed of the values above, by call and parameter.
ALLOWED = {
    "request_id": {"yesterday", "bad", "7"},
    "agent_id": {None, "nul\0", "yesterday", "bad", "7"},
    "subject": {"nul\0", "yesterday", "bad", "7"},  # what a subject is, the router says
    "name": {"nul\0", "yesterday", "bad", "7"},
    "namespace": {"nul\0", "yesterday", "bad", "7"},
    "address": {None, "nul\0", "yesterday", "bad", "7"},
    "token": {None, "nul\0", "yesterday", "bad", "7"},
    "stop_reason": {None, "nul\0", "yesterday", "bad", "7"},
    "error_type": {"nul\0", "yesterday", "bad", "7"},
    "detail": {None, "", "\ud800", "nul\0", "x" * 100_000, "yesterday", "bad", "7"},
    "message": {"", "\ud800", "nul\0", "x" * 100_000, "yesterday", "bad", "7"},
    "date": {None, LAST_DAY},
    "after": set(),
    "coalesce": {True}, "after_step": {True}, "take_over": {True},
    "format": set(), "when_busy": set(),
    "wait_s": {1.5, 10**30, float("inf")},
    "gather_ms": {1.5, 10**30, float("inf")},
    "ping_s": {None, 1.5, 10**30, float("inf")},
    "streams_max": set(),
    "request_ids": ["yesterday", "bad", "7", ["x"]],
    "tag": {None, "yesterday", "bad", "7"},
    "tags": [None],
    "metadata": [None, {"x": 1}],
    "state": {None},
    "since": [None, LAST_DAY],
    "limit": set(),
    "newest_first": {True}, "follow": {True}, "all": {True},
    "raise_failed": {True}, "observer": {True},
    "progress": [True, *(value for value in HOSTILE if value is None or callable(value))],
    "agent": [value for value in HOSTILE if callable(value)],
    "inputs": [["x"], {1, 2}],
    "name of agents": {None, "yesterday", "bad", "7"},
    "retries": set(), "concurrency": set(), "attempts": set(), "actors": set(),
    "ray_options": [None, {"x": 1}],
    "progress of agents": [True, *(value for value in HOSTILE if callable(value))],
}  # fmt: skip
PARAMETERS = [(call, name) for call, parameters in CALLS.items() for name in parameters]


def is_allowed(call: str, name: str, value: Any) -> bool:
    if call in ("StreamRouter.messages", "StreamRouter.merge") and name == "coalesce":
        return False
    if call in ("StreamRouter.list", "StreamRouter.merge") and name == "after":
        return value is None
    if call in ("StreamRouter.list", "StreamRouter.merge") and name == "agent":
        name = "agent_id"
    if name in ("settings", "config"):
        return value is None or isinstance(value, (dict, StreamSettings) if name == "settings" else (str, Path))
    if call == "StreamRouter.map" and name in ("name", "progress"):
        name = f"{name} of agents"
    if (call, name) in (("router.start", "request_id"), ("StreamRouter.merge", "request_ids")) and value is None:
        return True
    return any(value is one or (type(value) is type(one) and value == one) for one in ALLOWED[name])


@pytest.mark.parametrize(("call", "name"), PARAMETERS)
def test_odd_values_are_refused_by_the_names_of_call_and_parameter(call, name):
    for value in HOSTILE:
        if name == "detail" and call.endswith(".cancel") and value in ("\ud800", "x" * 100_000):
            continue
        if is_allowed(call, name, value):
            check(call, **{name: value})
            continue
        with pytest.raises(InvalidArgument) as refused:
            check(call, **{name: value})
        assert str(refused.value).startswith(f"{call}: {name} is ")
        assert len(str(refused.value)) < 500


@pytest.mark.parametrize(("call", "name"), PARAMETERS)
def test_every_parameter_of_the_table_is_one_of_the_method(call, name):
    owner, method = call.split(".")
    if owner == "router":  # of an open one
        owner, method = "StreamRouter", "_start_agent"
    owners = {"StreamRouter": StreamRouter, "Publisher": Publisher, "AgentRun": AgentRun}
    found = inspect.signature(getattr(owners[owner], method))
    assert name in found.parameters


@pytest.mark.parametrize("method", [name for name in dir(StreamRouter) if not name.startswith("_")])
def test_every_parameter_of_a_public_method_is_in_the_table(method):
    function = getattr(StreamRouter, method)
    if not callable(function):
        return
    parameters = set(inspect.signature(function).parameters) - {"self", "cls"}
    assert parameters == set(CALLS.get(f"StreamRouter.{method}", ()))


def test_what_passes_is_of_the_plain_type():
    (request_id,) = check("StreamRouter.cancel", request_id=Text("req"))
    assert type(request_id) is str
    (request_id,) = check("StreamRouter.cancel", request_id=Name.REQ)
    assert (type(request_id), request_id) == (str, "req-1")

    class Number:
        def __index__(self) -> int:
            return 7

    (after,) = check("StreamRouter.subscribe", after=Number())
    assert (type(after), after) == (int, 7)
    (wait_s,) = check("StreamRouter.subscribe", wait_s=2)
    assert (type(wait_s), wait_s) == (float, 2.0)


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("2025-05-05T08:44:56+00:00", "2025-05-05T08:44:56+00:00"),
        ("2025-05-05T08:44:56.123Z", "2025-05-05T08:44:56+00:00"),
        ("2025-05-05", "2025-05-05T00:00:00+00:00"),
        (datetime(2025, 5, 5, 8, 44, 56), "2025-05-05T08:44:56+00:00"),  # noqa: DTZ001  # a naive one is UTC
        (None, None),
    ],
)
def test_a_date_is_iso_text_in_whole_seconds(date, expected):
    assert check("StreamRouter.publish", date=date) == [expected]


@pytest.mark.parametrize(
    "date", ["yesterday", "2025-13-01", "0001-01-01T00:00:00+10:00", 5, "2025-05-05T08:00:00+99:00"]
)
def test_a_date_that_no_reader_could_read_is_refused(date):
    with pytest.raises(InvalidArgument):
        check("StreamRouter.publish", date=date)


@pytest.mark.parametrize("bad", ["", "line\nbreak", "nul\0", "\ud800", None, ["x"], 7, b"req"])
def test_an_odd_request_id_has_its_own_error(bad):
    for call in ("publish", "subscribe", "cancel", "forget", "locate"):
        with pytest.raises(InvalidRequestId):
            check(f"StreamRouter.{call}", request_id=bad)


async def test_the_front_door_asks_the_table_before_it_does_anything():
    router = FakeRouter()
    client = door(router)
    refused = 0
    for value in HOSTILE:
        for call in (
            client.publish,
            client.subscribe,
            client.cancel,
            client.forget,
            client.locate,
            client.result,
            client.messages,
            lambda v: client.messages("req", coalesce=v),
            lambda v: client.publish("req", date=v),
            lambda v: client.publish("req", settings=v),
            lambda v: client.publish("req", agent_id=v),
            lambda v: client.publish("req", when_busy=v),
            lambda v: client.publish("req", tags=v),
            lambda v: client.publish("req", metadata=v),
            lambda v: client.list(limit=v),
            client.merge,
            lambda v: client.merge("req", after=v),
            client.request,
            lambda v: client.subscribe("req", after=v),
            lambda v: client.subscribe("req", format=v),
            lambda v: client.subscribe("req", ping_s=v),
            client.overview,
            lambda v: client.map(v, []),
            lambda v: client.map(print, v),
            lambda v: client.map(print, [], retries=v),
            lambda v: client.map(print, [], concurrency=v),
            lambda v: client.map(print, [], actors=v),
            StreamRouter.start,
            StreamRouter.connect,
        ):
            try:
                made = call(value)
                if inspect.iscoroutine(made):
                    made.close() if is_allowed("StreamRouter.cancel", "request_id", value) else await made
            except StreamRouterError:
                refused += 1
    assert refused > 200
    assert not router.handle.calls, "none of it came to the router"
    await client.close()


async def test_chunks_takes_an_iterable_of_chunks_and_no_chunk():
    client = door(FakeRouter())
    stream = await client.publish("req").open()
    for wrong in ("text", b"bytes", {"a": 1}, 5, None, object()):
        with pytest.raises(InvalidArgument):
            await stream.chunks(wrong)
    await stream.chunks([b'{"a": 1}', {"b": 2}])
    assert stream.next_seq == 3
    await client.close()


def test_a_configuration_is_a_path_or_a_configuration():
    check("StreamRouter.start", config=RouterConfig(name="x"))
    with pytest.raises(InvalidArgument):
        check("StreamRouter.start", config={"name": "x"})


async def test_words_that_are_allowed_are_said_as_they_are_written():
    client = door(FakeRouter())
    with pytest.raises(InvalidArgument, match="one of 'waiting', 'open', 'sealed', or None; this is 'ended'"):
        await client.list(state="ended")
    with pytest.raises(InvalidArgument, match=r"a mapping as \{'dialect': 'chat'\}, or None; this is 'chat'"):
        client.publish("req", "chat")
    await client.close()
