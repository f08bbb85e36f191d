"""`stream-router tail`: messages as a person reads them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from actors.messages import MESSAGE_ADAPTER, MODELS, TEXT_FIELDS
from router.client.showing import transcript
from router.client.showing.transcript import Tail

SHARED = {"id": "m", "date": "2026-01-01T00:00:00+00:00", "run_id": "req"}
numbers = itertools.count(1)


def message(kind: str, **fields: Any) -> Any:
    return MESSAGE_ADAPTER.validate_python({**SHARED, "message_type": kind, "seq_id": next(numbers), **fields})


STOP = message("stop_reason", stop_reason="end_turn", provider_reason="stop")
USAGE = message("usage_statistics", prompt_tokens=1200, completion_tokens=4)


def written(*rows: tuple[str, Any], prefixes: bool = False) -> str:
    out: list[str] = []
    tail = Tail(out.append, prefixes=prefixes)
    for request_id, one in rows:
        tail.take(request_id, one)
    tail.close()
    return "".join(out)


def call(**fields: Any) -> Any:
    return message("tool_call_message", otid="2", tool_call={"tool_call_id": "c", **fields})


def test_pieces_of_one_request_are_written_on_as_they_come():
    pieces = [
        message("assistant_message", content="Let me"), message("assistant_message", content=" look."),
        call(name="weather"), call(arguments='{"city": '), call(arguments='"Rome"}'),
        message("tool_return_message", tool_return="15", status="success", tool_call_id="c"), STOP, USAGE,
    ]  # fmt: skip
    assert written(*(("req", piece) for piece in pieces)) == (
        "assistant   Let me look.\n"
        'tool call   weather {"city": "Rome"}\n'
        "tool return 15\n"
        "end         end_turn\n"
        "usage       1,200 tokens in, 4 out, 1 steps\n"
    )


def test_messages_of_several_requests_stand_under_their_ids_also_over_lines():
    first, second = message("assistant_message", content="one\ntwo"), message("assistant_message", content="three")
    assert written(("req-1", first), ("req-2", second), ("req-1", STOP), prefixes=True).splitlines() == [
        "req-1  assistant   one",
        "req-1              two",
        "req-2  assistant   three",
        "req-1  end         end_turn",
    ]


def test_a_model_cannot_take_over_the_terminal():
    said = written(("req", message("assistant_message", content="a\x1b[2J\x07\u202eb\r\nc\td")))
    assert said == "assistant   a\ufffd[2J\ufffd\ufffdb\nc\td\n"


def test_a_failed_end_says_why():
    stop = message("stop_reason", stop_reason="cancelled", detail="the user left")
    assert written(("req", stop)) == "end         cancelled: the user left\n"


def test_what_was_missed_is_said():
    gap = message("gap", first_seq_id=3, last_seq_id=9)
    assert "messages 3 to 9 are no longer kept" in written(("req", gap))


@pytest.mark.parametrize("kind", sorted(set(MODELS) - {"ping"}))
def test_every_kind_of_message_has_a_label_and_a_text(kind: str):
    assert kind in transcript._LABELS
    assert kind in transcript._TEXTS
    assert set(TEXT_FIELDS) <= set(transcript._TEXTS)
