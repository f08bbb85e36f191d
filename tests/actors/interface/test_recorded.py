"""Every recorded stream of every provider says what an independent reading of its bytes says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actors.messages import MessagePiece
from actors.providers.sse import SseDecoder
from actors.settings import StreamSettings
from actors.stop_reasons import StopReason
from actors.translator import Translator
from tests.assemble import TRACES, messages_of

RECORDED = TRACES / "recorded"
EXPECTED: dict[str, dict[str, Any]] = json.loads((RECORDED / "expected.json").read_text(encoding="utf-8"))
APIS = {entry["file"]: entry["api"] for entry in json.loads((RECORDED / "index.json").read_text(encoding="utf-8"))}

# Where the independent reading is less than what the stream says: arguments that come as `partialArgs`, and a
# file of several responses whose calls reuse their places.
FULLER_CALLS = {
    "google-parallel-tools-reasoning-1.sse": [
        ("read_theme", {}),
        ("read_screen", {"id": "A"}),
        ("read_screen", {"id": "B"}),
        ("read_screen", {"id": "C"}),
    ],
    "openai-responses-parallel-tools-reasoning-2.sse": [
        ("calculator", {"a": 12, "b": 7, "op": "add"}),
        ("calculator", {"a": 19, "b": 3, "op": "multiply"}),
        ("calculator", {"a": 57, "b": 10, "op": "multiply"}),
    ],
}
# The same file's usage: the reading takes the last response's; a request's usage is that of all its responses.
FULLER_USAGE = {"openai-responses-parallel-tools-reasoning-2.sse": {"prompt_tokens": 914, "completion_tokens": 92}}
# What has no message form, or is another API than the one recorded.
UNKNOWN = {
    "anthropic-text-1.sse": {"event completion"},
    "anthropic-text-3.sse": {"content block compaction"},
}


def payloads(name: str) -> list[bytes]:
    decoder = SseDecoder()
    events = decoder.feed((RECORDED / name).read_bytes()) + decoder.close()
    return [event.data for event in events]


def translated(name: str, **settings: Any) -> tuple[list[dict[str, Any]], Translator]:
    translator = Translator(StreamSettings.load({"dialect": "chat", **settings}), run_id=name)
    pieces: list[MessagePiece] = []
    for payload in payloads(name):
        pieces += translator.chunk(payload)
    pieces += translator.end()
    return messages_of(pieces), translator


def in_the_end(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the form of `expected.json`."""
    calls: dict[str, dict[str, Any]] = {}
    result: dict[str, Any] = {"text": "", "reasoning": "", "hidden_reasoning": [], "error": False}
    for message in messages:
        match message["message_type"]:
            case "assistant_message":
                result["text"] += message["content"]
            case "reasoning_message":
                result["reasoning"] += message["reasoning"]
            case "hidden_reasoning_message":
                result["hidden_reasoning"].append(message["hidden_reasoning"])
            case "tool_call_message" if not message.get("provider_executed"):
                call = calls.setdefault(message["otid"], {"name": None, "id": None, "arguments": ""})
                piece = message["tool_call"]
                call["name"] = piece.get("name", call["name"])
                call["id"] = piece.get("tool_call_id")
                call["arguments"] += piece.get("arguments", "")
            case "error_message":
                result["error"] = True
            case "stop_reason":
                result["finish"] = message["provider_reason"]
            case "usage_statistics":
                result["usage"] = {key: message[key] for key in ("prompt_tokens", "completion_tokens")}
                result["reported"] = message["reported"]
    result["tool_calls"] = list(calls.values())
    return result


def as_value(arguments: str) -> Any:
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments


@pytest.mark.parametrize("provider", ["auto", "named"])
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_recorded_streams_in_the_end(name: str, provider: str) -> None:
    wanted = EXPECTED[name]
    messages, translator = translated(name, provider=APIS[name] if provider == "named" else "auto")
    got = in_the_end(messages)
    for key in ("text", "reasoning", "hidden_reasoning", "finish", "error"):
        assert got[key] == wanted[key], key
    calls = [(call["name"], as_value(call["arguments"])) for call in got["tool_calls"]]
    assert calls == FULLER_CALLS.get(
        name, [(call["name"], as_value(call["arguments"])) for call in wanted["tool_calls"]]
    )
    if wanted["usage"] is None:
        assert not got["reported"]
    else:
        assert {key: got["usage"][key] for key in wanted["usage"]} == FULLER_USAGE.get(name, wanted["usage"])
    assert translator.describe()["provider"] == APIS[name]
    assert set(translator.describe()["unknown"]) == UNKNOWN.get(name, set())


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_recorded_streams_end_in_one_terminal_of_a_known_reason(name: str) -> None:
    messages, _ = translated(name)
    kinds = [message["message_type"] for message in messages]
    assert kinds[-2:] == ["stop_reason", "usage_statistics"]
    assert kinds.count("stop_reason") == kinds.count("usage_statistics") == 1
    reason = StopReason(messages[-2]["stop_reason"])
    wanted = EXPECTED[name]
    if wanted["error"]:
        assert reason is StopReason.ERROR
    elif wanted["finish"] is None:
        # Snowflake has no finish word; its usage and its end marker say that it has ended.
        assert reason is (StopReason.END_TURN if name == "snowflake-text-1.sse" else StopReason.INCOMPLETE)
    elif wanted["refused"]:
        assert reason in (StopReason.REFUSAL, StopReason.CONTENT_FILTER)
    elif wanted["finish"] == "incomplete":
        assert reason is StopReason.MAX_TOKENS
        assert messages[-2]["detail"] == "max_output_tokens"
    elif wanted["tool_calls"] and not wanted["text"].endswith("**570**."):  # there, the calls are of earlier responses
        assert reason is StopReason.TOOL_CALL


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_what_the_provider_ran_itself_is_marked(name: str) -> None:
    messages, _ = translated(name)
    calls = {
        m["tool_call"].get("tool_call_id")
        for m in messages
        if m["message_type"] == "tool_call_message" and m.get("provider_executed")
    }
    returns = [m for m in messages if m["message_type"] == "tool_return_message"]
    for message in returns:
        assert message["provider_executed"] is True
        assert message["tool_call_id"] in calls
