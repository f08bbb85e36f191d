"""Messages read back as OpenAI chunks: what the official client and its helpers make of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import httpx
import openai
import pytest

from actors.messages import MessagePiece, as_dict
from actors.openai_format import OpenAIFormat, to_chunks
from actors.providers.sse import SseDecoder
from actors.settings import StreamSettings
from actors.translator import Translator
from tests.assemble import TRACES, messages_of, payload


def pieces_of(payloads: Iterable[bytes], **settings: Any) -> list[dict[str, Any]]:
    """Return all pieces of all messages, as a subscriber has them."""
    translator = Translator(StreamSettings.load({"dialect": "chat", **settings}), run_id="req-1")
    pieces: list[MessagePiece] = []
    for item in payloads:
        pieces += translator.chunk(item)
    pieces += translator.end()
    return [as_dict(head.fields, text, extra, None) for head, text, extra in pieces]


def recorded(name: str) -> list[bytes]:
    decoder = SseDecoder()
    return [event.data for event in decoder.feed((TRACES / "recorded" / name).read_bytes()) + decoder.close()]


def served(chunks: Iterable[dict[str, Any]]) -> openai.OpenAI:
    """Return a client of the real library whose server streams these chunks."""
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    reply = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body.encode())
    transport = httpx.MockTransport(lambda _: reply)
    return openai.OpenAI(api_key="none", base_url="http://router", http_client=httpx.Client(transport=transport))


def completion(chunks: Iterable[dict[str, Any]]) -> Any:
    """Let the client's own helper put a stream together."""
    with served(chunks).chat.completions.stream(
        model="m", messages=[{"role": "user", "content": "hi"}], stream_options={"include_usage": True}
    ) as stream:
        return stream.get_final_completion()


NAMES = [
    "openai-text-1.sse",
    "deepseek-text-2.sse",
    "anthropic-text-2.sse",
    "openai-responses-text-1.sse",
    "google-text-2.sse",
]


@pytest.mark.parametrize("name", NAMES)
def test_the_client_puts_a_text_together(name: str) -> None:
    expected = json.loads((TRACES / "recorded" / "expected.json").read_text(encoding="utf-8"))[name]
    result = completion(to_chunks(pieces_of(recorded(name))))
    assert result.choices[0].message.content == expected["text"]
    assert result.choices[0].finish_reason == "stop"
    if expected["usage"] is not None:
        assert result.usage.prompt_tokens == expected["usage"]["prompt_tokens"]
        assert result.usage.completion_tokens == expected["usage"]["completion_tokens"]


@pytest.mark.parametrize(
    "name", ["openai-parallel-tools-1.sse", "anthropic-parallel-tools-2.sse", "google-parallel-tools-1.sse"]
)
def test_the_client_puts_tool_calls_together(name: str) -> None:
    expected = json.loads((TRACES / "recorded" / "expected.json").read_text(encoding="utf-8"))[name]
    result = completion(to_chunks(pieces_of(recorded(name))))
    choice = result.choices[0]
    assert choice.finish_reason == "tool_calls"
    got = [(call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls]
    assert got == [(call["name"], json.loads(call["arguments"])) for call in expected["tool_calls"]]
    assert len({call.id for call in choice.message.tool_calls}) == len(got)


def chat(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> bytes:
    return payload(
        {"object": "chat.completion.chunk", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}
    )


def test_whole_messages_give_the_same_as_pieces() -> None:
    payloads = recorded("openai-parallel-tools-1.sse")
    translator = Translator(StreamSettings.load({"dialect": "chat"}), run_id="req-1")
    pieces = [piece for item in payloads for piece in translator.chunk(item)] + translator.end()
    whole = completion(to_chunks(messages_of(pieces)))
    assert whole.choices[0].message == completion(to_chunks(pieces_of(payloads))).choices[0].message


def test_an_agents_message_is_the_content_and_its_turn_ends() -> None:
    call = {
        "index": 0,
        "id": "c",
        "function": {"name": "send_message", "arguments": '{"inner_thoughts": "T", "message": "Hi"}'},
    }
    chunks = list(to_chunks(pieces_of([chat({"tool_calls": [call]}), chat({}, "tool_calls")], dialect="letta")))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    assert deltas == [{"role": "assistant", "reasoning_content": "T"}, {"content": "Hi"}, {}]
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert {chunk["id"] for chunk in chunks} == {"chatcmpl-req-1"}


def test_further_choices_keep_their_index() -> None:
    payloads = [chat({"content": text}, None, index) for text in ("a", "b") for index in (0, 1)] + [chat({}, "stop")]
    result = completion(to_chunks(pieces_of(payloads, choices="all")))
    assert [choice.message.content for choice in result.choices] == ["ab", "ab"]
    assert [choice.finish_reason for choice in result.choices] == ["stop", "stop"]


@pytest.mark.parametrize(
    ("payloads", "text"),
    [
        ([chat({"content": "a"})], "incomplete"),
        ([chat({"content": "a"}), payload({"error": {"message": "overloaded", "type": "server_error"}})], "overloaded"),
        ([chat({"content": "a"}), b"{oops", chat({}, "stop")], "provider event"),
    ],
)
def test_a_broken_stream_is_an_error_to_the_client(payloads: list[bytes], text: str) -> None:
    stream = served(to_chunks(pieces_of(payloads))).chat.completions.create(
        model="m", messages=[{"role": "user", "content": "hi"}], stream=True
    )
    with pytest.raises(openai.APIError, match=text):
        list(stream)


def test_what_openai_has_no_place_for_is_left_out() -> None:
    shape = OpenAIFormat("my-model")
    head = {"id": "message-1", "date": "2025-05-01T12:00:00+00:00"}
    for kind, fields in {
        "user_message": {"content": "hi"},
        "hidden_reasoning_message": {"state": "redacted", "hidden_reasoning": "x"},
        "tool_return_message": {"tool_return": "2", "status": "success", "tool_call_id": "c"},
        "tool_call_message": {"tool_call": {"name": "web_search"}, "provider_executed": True},
        "ping": {},
        "gap": {"first_seq_id": 1, "last_seq_id": 2},
    }.items():
        assert shape.feed({"message_type": kind, **head, **fields}) == []
    (chunk,) = shape.feed({"message_type": "assistant_message", **head, "content": [{"type": "text", "text": "a"}]})
    assert (chunk["model"], chunk["created"], chunk["choices"][0]["delta"]["content"]) == ("my-model", 1746100800, "a")
