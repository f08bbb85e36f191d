"""Promise: streams as servers really send them are read right, at every cut and again after replay.

`tests/traces/field/` has one made after each public bug report (`NAME.sse`, `NAME.right.json`); what is in
`right.json` was decided from the providers' documents.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from actors.messages import as_dict, coalesce
from actors.providers.sse import SseDecoder
from actors.settings import StreamSettings
from actors.translator import Translator

FIELD = Path(__file__).parents[2] / "traces" / "field"
NAMES = sorted(path.name.removesuffix(".right.json") for path in FIELD.glob("*.right.json"))


def payloads_of(body: bytes, cuts: tuple[int, ...] = ()) -> list[bytes]:
    decoder = SseDecoder()
    places = [0, *cuts, len(body)]
    events = [event for start, end in pairwise(places) for event in decoder.feed(body[start:end])]
    return [event.data for event in events + decoder.close()]


def messages_of(payloads: list[bytes], settings: dict[str, Any]) -> list[dict[str, Any]]:
    translator = Translator(StreamSettings.load(settings), run_id="field")
    pieces = [piece for payload in payloads for piece in translator.chunk(payload)]
    pieces += translator.end()
    return [as_dict(head.fields, text, extra, None) for head, text, extra in coalesce(pieces)]


def read(body: bytes, settings: dict[str, Any], cuts: tuple[int, ...] = ()) -> dict[str, Any]:
    """Return what a client has in the end, in the words of `right.json`."""
    calls: dict[tuple[Any, ...], list[Any]] = {}
    found: dict[str, Any] = {"assistant": "", "reasoning": "", "signatures": [], "errors": [], "ids": []}
    for message in messages_of(payloads_of(body, cuts), settings):
        kind = message["message_type"]
        if kind == "assistant_message":
            found["assistant"] += message["content"]
        elif kind == "reasoning_message":
            found["reasoning"] += message["reasoning"]
        elif kind == "error_message":
            found["errors"].append(f"{message['error_type']}: {message['message']} {message['detail'] or ''}")
        elif kind == "stop_reason":
            found |= {"stop": message["stop_reason"], "provider_reason": message["provider_reason"]}
            found["detail"] = message["detail"]
        elif kind == "usage_statistics":
            found |= {key: value for key, value in message.items() if key.endswith("_tokens")}
        elif kind == "tool_call_message":
            piece = message["tool_call"]
            key = (message["id"], message["otid"], bool(message.get("provider_executed")))
            call = calls.setdefault(key, [piece.get("tool_call_id"), None, ""])
            call[1] = piece.get("name", call[1])
            call[2] += piece.get("arguments", "")
        if message.get("signature"):
            found["signatures"].append(message["signature"])
    found["calls"] = [call for key, call in calls.items() if not key[2]]
    found["own_calls"] = [call for key, call in calls.items() if key[2]]
    found["n_errors"] = len(found["errors"])
    return found


def check(found: dict[str, Any], right: dict[str, Any]) -> None:
    errors_contain = right.get("errors_contain")
    wanted = {key: value for key, value in right.items() if key != "errors_contain"}
    assert {key: found[key] for key in wanted} == wanted
    if errors_contain is not None:
        assert errors_contain in " ".join(found["errors"])


@pytest.mark.parametrize("name", NAMES)
def test_field(name: str) -> None:
    case = json.loads((FIELD / f"{name}.right.json").read_text())
    check(read((FIELD / f"{name}.sse").read_bytes(), case["settings"]), case["right"])


@pytest.mark.parametrize("name", NAMES)
def test_field_at_every_cut(name: str) -> None:
    case = json.loads((FIELD / f"{name}.right.json").read_text())
    body = (FIELD / f"{name}.sse").read_bytes()
    whole = messages_of(payloads_of(body), case["settings"])
    for place in range(1, len(body), 7):
        assert payloads_of(body, (place,)) == payloads_of(body)
    assert payloads_of(body, tuple(range(1, len(body)))) == payloads_of(body)
    assert messages_of(payloads_of(body), case["settings"]) == whole
