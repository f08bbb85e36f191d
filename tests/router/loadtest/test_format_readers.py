"""What readers of a load test find in each format of the gateway is what the recordings say, also across cuts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, get_args

import pytest

from actors.recording_format import read_recording
from actors.settings import StreamSettings
from actors.stop_reasons import StopReason, is_failure
from gateway.config import FORMATS
from gateway.formats.agui import AguiForm
from gateway.formats.chat import ChatForm
from gateway.formats.form import Form
from gateway.formats.langgraph import LangGraphForm
from gateway.formats.letta import LettaForm
from gateway.formats.native import NativeForm
from gateway.formats.responses import ResponsesForm
from gateway.formats.ui import UiForm
from gateway.serving.agui_routes import RUN_PREFIX
from router.loadtest.format_readers import (
    AGUI_PREFIX,
    COUNT_AS_WE_DO,
    TELL_GAPS,
    TIMED,
    FormatReader,
    SseFormat,
    event_of,
    reader_of,
)
from router.loadtest.verify import Assembly, content_faults, expected, faults_of_end
from router.scripted_provider import Recording
from tests.gateway.golden import FOLDER
from tests.gateway.said import translated

RUN = "agui-run-1"
TOLD = "openai-tool-2"
GOLDEN = {"langgraph": "langgraph-pieces"}
MAKE: dict[str, Callable[[], Form]] = {
    "native": partial(NativeForm, RUN),
    "letta": partial(LettaForm, RUN),
    "chat": partial(ChatForm, "agent", with_usage=True),
    "responses": partial(ResponsesForm, RUN, "agent"),
    "ui": partial(UiForm, RUN),
    "agui": partial(AguiForm, "run-1", "run-1", []),
    "langgraph": partial(LangGraphForm, RUN, RUN, frozenset({"messages-tuple"})),
}
each_format = pytest.mark.parametrize("name", FORMATS)
Messages = list[dict[str, Any]]


def blocks_of(messages: Sequence[Any], name: str, after: int = 0, *, whole: bool = True) -> list[bytes]:
    """Return what a gateway sends to a reader with a cursor."""
    form = MAKE[name]()
    frames = [frame for message in messages for frame in form.feed(message)]
    frames += form.end() if whole else []
    data = b"".join(frame.data for frame in frames if frame.number > after)
    opening = b": open\n\n" if after else form.opening
    return (opening + data).split(b"\n\n")[:-1]


def read(reader: FormatReader, blocks: Sequence[bytes]) -> Messages:
    """Return what a reader finds in one connection."""
    reader.begin()
    return [message for event in map(event_of, blocks) if event is not None for message in reader.take(event)]


def after_of(reader: FormatReader) -> int:
    """Return the cursor that a reader asks with."""
    asked = reader.asked()
    after = asked.headers.get("Last-Event-ID") or (asked.body or {}).get("starting_after") or 0
    if "starting_after" in asked.query:
        after = int(asked.query["starting_after"]) + 1
    return int(after)


def assembled(messages: Messages) -> Assembly:
    assembly = Assembly()
    for message in messages:
        assembly.feed(message)
    return assembly


def ends_as(messages: Messages, stop_reason: str) -> list[str]:
    return faults_of_end(assembled(messages), stop_reason, provider_failed=stop_reason == "error")


@pytest.fixture
def tool_call(recordings: list[Recording]) -> Recording:
    return next(recording for recording in recordings if recording.name == TOLD)


def wrong(messages: Messages, recording: Recording, stop_reason: str = "tool_call") -> list[str]:
    """Return all that a load test finds wrong with a reading."""
    settings = StreamSettings.load({"dialect": "chat"})
    assembly = assembled(messages)
    counts = [f"{name}: {getattr(assembly, name)}" for name in ("lost", "duplicated", "reordered")]
    found = [count for count in counts if not count.endswith(" 0")]
    found += faults_of_end(assembly, stop_reason, provider_failed=False)
    return found + content_faults(expected(recording.body, recording.api, settings), assembly)


def test_all_formats_of_the_gateway_are_read():
    assert get_args(SseFormat) == FORMATS
    assert AGUI_PREFIX == RUN_PREFIX
    assert TELL_GAPS <= COUNT_AS_WE_DO <= TIMED < set(FORMATS)


@each_format
def test_the_bytes_that_clients_get_say_what_the_recording_says(name: Any, tool_call: Recording):
    golden = (FOLDER / f"{TOLD}.{GOLDEN.get(name, name)}.txt").read_bytes()
    reader = reader_of(name, RUN)
    assert wrong(read(reader, golden.split(b"\n\n")), tool_call) == []
    assert reader.is_over


@each_format
@pytest.mark.parametrize("dialect", ["chat", "letta"])
def test_every_recording_is_right_in_every_format(name: Any, dialect: str, recordings: list[Recording]):
    settings = StreamSettings.load({"dialect": dialect})
    for recording in recordings:
        said = translated(recorded_chunks(recording), dialect=dialect)
        found = read(reader_of(name, RUN), blocks_of(said, name))
        right = expected(recording.body, recording.api, settings)
        assert content_faults(right, assembled(found)) == [], recording.name
        assert ends_as(found, said[-2]["stop_reason"]) == [], recording.name


def recorded_chunks(recording: Recording) -> list[bytes]:
    return read_recording(recording.body)


@each_format
def test_a_reader_that_is_cut_anywhere_has_everything_once_and_one_end(name: Any, tool_call: Recording):
    said = translated(recorded_chunks(tool_call))
    blocks = blocks_of(said, name)
    for cut in range(1, len(blocks)):
        reader = reader_of(name, RUN)
        found = read(reader, blocks[:cut])
        found += read(reader, blocks_of(said, name, after_of(reader)))
        assert wrong(found, tool_call) == [], cut
        assert reader.is_over


@each_format
def test_places_are_those_of_messages_where_a_format_tells_them(name: Any, tool_call: Recording):
    said = translated(recorded_chunks(tool_call))
    found = read(reader_of(name, RUN), blocks_of(said, name))
    numbers = {message.get("of_seq_id", message["seq_id"]) for message in found}
    assert numbers - {0} <= {message["seq_id"] for message in said} if name in TIMED else numbers == {None}


@each_format
@pytest.mark.parametrize("number", [6, 9])
def test_an_event_that_is_missing_or_comes_twice_or_late_is_found(name: Any, number: int, tool_call: Recording):
    blocks = blocks_of(translated(recorded_chunks(tool_call)), name)
    late = [*blocks[:number], blocks[number + 1], blocks[number], *blocks[number + 2 :]]
    for damaged in (blocks[:number] + blocks[number + 1 :], [*blocks[: number + 1], *blocks[number:]], late):
        assert wrong(read(reader_of(name, RUN), damaged), tool_call) != []


@each_format
def test_a_stream_that_a_gateway_breaks_off_is_no_end(name: Any, tool_call: Recording):
    said = translated(recorded_chunks(tool_call))
    reader = reader_of(name, RUN)
    broken = MAKE[name]().broken("draining", "this gateway is being stopped")
    found = read(reader, [*blocks_of(said[:5], name, whole=False), *broken.split(b"\n\n")[:-1]])
    assert not reader.is_over
    assert assembled(found).terminals == 0
    found += read(reader, blocks_of(said, name, after_of(reader)))
    assert wrong(found, tool_call) == []


@each_format
@pytest.mark.parametrize("stop_reason", [str(reason) for reason in StopReason])
def test_each_end_is_told_apart_from_those_of_other_kinds(name: Any, stop_reason: str, tool_call: Recording):
    said = translated(recorded_chunks(tool_call))
    said[-2] = {**said[-2], "stop_reason": stop_reason}
    assembly = assembled(read(reader_of(name, RUN), blocks_of(said, name)))
    assert assembly.terminals == 1
    told = assembly.stands_for or {assembly.stop_reason}
    assert stop_reason in told
    assert {is_failure(str(reason)) for reason in told} == {is_failure(stop_reason)}
    assert ("cancelled" in told) == (stop_reason == "cancelled")


def test_what_has_no_data_is_no_event():
    assert event_of(b": ping") is None
    assert event_of(b"retry: 1000") is None
    assert event_of(b'id: 7\nevent: end\ndata: {"a":"b: c"}') == (b'{"a":"b: c"}', b"end", b"7")
