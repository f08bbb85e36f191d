"""Promises: every format says the same of a request, and only `model` builds models."""

from __future__ import annotations

from typing import Any

import pytest

from actors.message_factory import MessageFactory
from actors.messages import MESSAGE_ADAPTER, PingMessage
from actors.protocol.frames import pack, unpack
from actors.providers.sse import SseDecoder
from actors.settings import StreamSettings
from actors.stream.log import Log
from actors.translator import Translator
from router.client.reading.batch import Batch, Shaper, unpack_batch
from router.client.reading.inbox import Cursor, Segment
from tests.assemble import TRACES

RECORDED = sorted((TRACES / "recorded").glob("*.sse"))


def read(name: str) -> tuple[list[Segment], int]:
    """Return the segments of a recorded stream as a reader gets them, and the last seq_id."""
    log, cursor = Log(), Cursor(0)
    translator = Translator(StreamSettings.load({"dialect": "chat"}), run_id="run")
    decoder = SseDecoder()
    for event in decoder.feed((TRACES / "recorded" / name).read_bytes()) + decoder.close():
        log.append(translator.chunk(event.data))
    log.append(translator.end())
    reading = log.read(0, through=log.last_seq, bytes_max=1 << 30)
    return cursor.take(unpack(pack(reading.segments)), None), cursor.last_seq_id


def shaped(name: str, format: Any) -> Batch[Any]:  # noqa: A002  # the user's word
    return Shaper(format, coalesce=False).shape(*read(name))


@pytest.mark.parametrize("name", [path.name for path in RECORDED[::4]])
def test_dicts_and_packed_messages_say_what_the_models_do(name: str) -> None:
    models = [message.model_dump(mode="json") for message in shaped(name, "model")]
    dicts = list(shaped(name, "dict"))
    assert unpack_batch(shaped(name, "packed").packed) == dicts
    structs = list(shaped(name, "struct"))
    assert [struct.as_dict() for struct in structs] == dicts
    assert [struct.model().model_dump(mode="json") for struct in structs] == models
    assert [MESSAGE_ADAPTER.validate_python(message).model_dump(mode="json") for message in dicts] == models


def test_a_struct_says_what_it_is_without_a_model() -> None:
    fields = {
        "message_type": "tool_call_message",
        "id": "message-1",
        "otid": "o",
        "tool_call_id": "call",
        "step_id": "s",
    }
    call, *_ = Shaper("struct", coalesce=False).shape([(4, fields, [["{", {"tool_name": "look"}], "}"])], 5)
    assert (call.seq_id, call.message_type, call.id, call.otid) == (4, "tool_call_message", "message-1", "o")
    assert (call.text, call.tool_name, call.tool_call_id, call.step_id) == ("{", "look", "call", "s")
    (whole,) = Shaper("struct", coalesce=True).shape([(4, fields, [["{", {"tool_name": "look"}], "}"])], 5)
    assert (whole.seq_id, whole.text, whole.tool_name) == (5, "{}", "look")


def test_only_models_are_built_as_models(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_given: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(MessageFactory, "__init__", refuse)
    monkeypatch.setattr(PingMessage, "__init__", refuse)
    name = RECORDED[0].name
    assert list(shaped(name, "dict"))
    assert list(Shaper("dict", coalesce=True).shape(*read(name)))
    assert shaped(name, "packed").packed
    (ping,) = Shaper("dict", coalesce=False).ping("run", 3)
    assert not Shaper("packed", coalesce=False).ping("run", 3)
    assert [struct.as_dict() for struct in Shaper("struct", coalesce=False).ping("run", 3)] == [ping]
    assert list(shaped(name, "struct"))
    monkeypatch.undo()
    assert MESSAGE_ADAPTER.validate_python(ping).model_dump(mode="json") == ping
    monkeypatch.setattr(MessageFactory, "__init__", refuse)
    with pytest.raises(AssertionError):
        shaped(name, "model")
