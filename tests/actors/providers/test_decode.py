"""Promises: what is decoded is what `json.loads` makes of it; a common shape tells what the whole event would."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors.deltas import Delta
from actors.providers import Adapter, make_adapter
from actors.providers.adapter import Event
from actors.providers.decode import COMMON_BYTES_MAX, decode
from actors.providers.payloads import DONE, read_payload
from actors.providers.sse import SseDecoder
from actors.settings import StreamSettings
from actors.translator import Translator
from tests.assemble import TRACES
from tests.effort import scaled

RECORDED = sorted((TRACES / "recorded").glob("*.sse"))
API_OF = {entry["file"]: entry["api"] for entry in json.loads((TRACES / "recorded" / "index.json").read_bytes())}
REFUSED = object()


def payloads_of(path: Path) -> list[bytes]:
    decoder = SseDecoder()
    return [event.data for event in decoder.feed(path.read_bytes()) + decoder.close()]


STREAMS = {path.name: payloads_of(path) for path in RECORDED}


def loaded(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        return REFUSED


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are the same to the last bit, types, signs and the order of keys included."""
    return repr(one) == repr(other)


# --- the value ------------------------------------------------------------------------------------

ODD = [
    b'{"a":"\\ud800"}', b'{"a":"\\ud83d\\ude00"}', b'{"a":"\xed\xa0\x80"}', b'{"\\ud800":1}',
    b'{"a":"\\ude00\\ud83d"}', b'{"a":NaN}', b'{"a":[Infinity,-Infinity]}', b'{"a":1e400}', b'{"a":-1e400}',
    b'{"a":1e-400}', b'{"a":-0}', b'{"a":-0.0}', b'{"a":123456789012345678901234567890}',
    b'{"a":-9223372036854775809}', b'{"a":18446744073709551616}',
    b'{"a":0.1,"b":1.7976931348623157e308,"c":5e-324,"d":2.2250738585072011e-308,"e":9007199254740993}',
    b'{"a":' + b"7" * 4000 + b"}", b'{"a":' + b"7" * 5000 + b"}", b'{"a":1.' + b"7" * 5000 + b"}",
    b'{"a":1,"b":2,"a":{"c":3},"b":[]}', b'\xef\xbb\xbf{"a":1}', '{"a":"é"}'.encode("utf-16"),
    '{"a":1}'.encode("utf-32"), '{"a":1}'.encode("utf-16-le"), b'{"a":"\xff"}', b'{"a":"\xc0\xaf"}',
    b'{"\xf4\x90\x80\x80":1}', b'{"a":1} x', b'{"a":1}{"b":2}', b'{"a":1}\x00', b'{"a":"\x00"}', b'{"a":"\t"}',
    b'{"a":"\x7f"}', b'{"a":"\\u12"}', b'{"a":"\\x"}', b'{"a":01}', b'{"a":1.}', b'{"a":.5}', b'{"a":+1}', b'{"a":-}',
    b'{"a":1e}', b'{"a":tru}', b'{"a":nulll}', b'{"a":1,}', b'{"a":[1,]}', b"{'a':1}", b"{a:1}", b"{1:2}", b'{"a"}',
    b'{"a":1', b'{"a":"b', b"", b" ", b"null", b"17", b'"text"', b"[1,2]", b"[{}]", b"{}", b' \r\n\t{"a" : [ ] } \n',
    b'\x0b{"a":1}', b"\x0c{}", b'{"a":' + b"[" * 150 + b"]" * 150 + b"}", b'{"a":' + b"[" * 400 + b"]" * 400 + b"}",
    b"[" * 100_000, b'{"a":' * 3000 + b"1" + b"}" * 3000, b'{"\\u0061":1,"a":2}',
    b'{"a":"\\/\\b\\f\\n\\r\\t\\"\\\\"}', b'{"":{"":""}}',
]  # fmt: skip


def check_value(payload: bytes) -> None:
    """Check a payload against `json.loads`, and what is read where the decoder refuses it too."""
    right = loaded(payload)
    try:
        value = decode(payload)
    except ValueError:
        value = REFUSED
    if value is not REFUSED:
        assert same(value, right), payload[:200]
    elif isinstance(right, dict):
        read = read_payload(payload)
        assert same(read.events, [right]), payload[:200]
        assert read.broken is None


@pytest.mark.parametrize("payload", ODD, ids=lambda payload: repr(payload[:40]))
def test_odd_json_is_what_json_loads_makes_of_it(payload: bytes) -> None:
    check_value(payload)


NUMBERS = [0, -0.0, 1, -1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**30, 0.1, 1e22, 1e300, 5e-324, 123456.789e-5]
TEXTS = ["", "a", "é", "😀", "\u2028", "\x7f", '"\\/', "\n\t\r\b\f", "\u0000", "\ud800", "\udfff", "ab" * 40, "ß\ud83d"]


def tree(draw: random.Random, depth: int = 4) -> Any:
    kind = draw.randrange(8 if depth else 5)
    if kind == 0:
        return draw.choice([None, True, False])
    if kind == 1:
        return draw.choice(NUMBERS)
    if kind == 2:
        return draw.choice([draw.random() * 10 ** draw.randrange(-320, 309), draw.getrandbits(draw.randrange(1, 130))])
    if kind in (3, 4):
        return draw.choice(TEXTS)
    if kind == 5:
        return [tree(draw, depth - 1) for _ in range(draw.randrange(4))]
    return {draw.choice(TEXTS): tree(draw, depth - 1) for _ in range(draw.randrange(4))}


def written(draw: random.Random, value: Any) -> bytes:
    """Write a value as some server might."""
    separators = draw.choice([(",", ":"), (", ", ": "), (" ,\t", " :\n")])
    text = json.dumps(value, ensure_ascii=draw.random() < 0.5, separators=separators)
    return text.encode("utf-8", "surrogatepass")


def broken(draw: random.Random, payload: bytes) -> bytes:
    """Change some bytes of a payload: drop, double, replace, or put in what JSON and UTF-8 are made of."""
    changed = bytearray(payload)
    for _ in range(draw.randrange(1, 4)):
        at = draw.randrange(len(changed) + 1)
        what = draw.randrange(4)
        if what == 0:
            del changed[at : at + draw.randrange(1, 5)]
        elif what == 1:
            changed[at:at] = draw.choice(PIECES)
        elif what == 2:
            changed[at : at + 1] = bytes([draw.randrange(256)])
        else:
            changed[at:at] = changed[at : at + draw.randrange(1, 30)]
    return bytes(changed)


PIECES = [
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"0", b"-", b".", b"e", b"1e999", b"NaN", b"Infinity", b"null",
    b"true", b"\\u", b"\\ud800", b"\\u0061", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x00", b"\n", b" ",
    b'"a":1,', b"123456789" * 500,
]  # fmt: skip


@pytest.mark.parametrize("seed", range(scaled(40, 8)))
def test_random_json_is_what_json_loads_makes_of_it(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(150):
        payload = written(draw, {"a": tree(draw), "b": tree(draw)})
        check_value(payload)
        check_value(broken(draw, payload))


# --- common shapes --------------------------------------------------------------------------------


class Whole:
    """An adapter that knows no common shape."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter

    def common(self, _payload: bytes) -> None:
        return None

    def feed(self, event: Event) -> list[Delta]:
        return self.adapter.feed(event)

    def close(self) -> list[Delta]:
        return self.adapter.close()


SETTINGS = [{"dialect": "letta"}, {"dialect": "chat"}, {"dialect": "chat", "choices": "all", "split_think_tags": True}]


def check_both_ways(payloads: list[bytes], provider: str, settings: dict[str, Any]) -> None:
    """Translate with common shapes and without, and compare after each chunk."""
    loaded_settings = StreamSettings.load({**settings, "provider": provider})
    mine, right = (Translator(loaded_settings, run_id="run") for _ in range(2))
    right._adapter = Whole(make_adapter(provider))  # type: ignore[arg-type]
    for payload in payloads:
        before = mine.describe()
        told, wanted = mine.chunk(payload), right.chunk(payload)
        assert [(piece.head.fields, *piece[1:]) for piece in told] == [
            (piece.head.fields, *piece[1:]) for piece in wanted
        ], payload
        assert mine.last_had_content == right.last_had_content, payload
        after = mine.describe()
        is_common = after["chunks"] - before["chunks"] > after["chunks_decoded_whole"] - before["chunks_decoded_whole"]
        if is_common:
            assert loaded(payload) is not REFUSED, payload
    told, wanted = mine.end(), right.end()
    assert [(piece.head.fields, *piece[1:]) for piece in told] == [(piece.head.fields, *piece[1:]) for piece in wanted]
    ours, theirs = mine.describe(), right.describe()
    del ours["chunks_decoded_whole"], theirs["chunks_decoded_whole"]
    if provider == "auto":
        del ours["provider"], theirs["provider"]
    assert ours == theirs


@pytest.mark.parametrize("name", STREAMS)
def test_recorded_streams_tell_the_same_both_ways(name: str) -> None:
    for settings in SETTINGS:
        check_both_ways(STREAMS[name], API_OF[name], settings)
        check_both_ways(STREAMS[name], "auto", settings)


# Keys and values that would change what an event means, wherever they stand.
KEYS: dict[str, list[Any]] = {
    "usage": [None, {}, {"prompt_tokens": 3}, {"input_tokens": 3, "output_tokens": 4}, [], 1],
    "error": [None, "", {}, {"message": "full"}, "full", False],
    "message": [None, {}, {"content": "whole"}, "text"],
    "text": ["", "t", None, 3],
    "base_resp": [None, {"status_code": 0}, {"status_code": 1000, "status_msg": "full"}],
    "x_groq": [None, {}, {"id": "g"}, {"usage": {"prompt_tokens": 1}}],
    "finish_reason": [None, "", "stop", "null", 3, {}],
    "index": [None, 0, 1, -1, 2.0, 1.5, "1", True, 2**70, 10**9],
    "choices": [None, [], [None], {}, [{}]],
    "delta": [None, {}, "d", {"content": "more"}, {"type": "text_delta"}, {"type": "thinking_delta", "text": "x"}],
    "content": [None, "", "c", [{"type": "text", "text": "p"}], 5],
    "reasoning": [None, "", "r", {"text": "r"}],
    "reasoning_content": [None, "", "rc"],
    "reasoning_details": [[], [{"type": "reasoning.text", "text": "r", "signature": "s"}]],
    "tool_calls": [None, [], [{"index": 0, "function": {"arguments": "{}"}}], [{"function": {"name": "f"}}], {}],
    "refusal": [None, "", "no"],
    "model": [None, "", "another", 4],
    "type": [None, "ping", "text_delta", "content_block_delta", "response.output_text.delta", 7],
    "item_id": [None, "", "another", 4],
    "output_index": [None, 0, 5],
    "promptFeedback": [None, {}, {"blockReason": "SAFETY"}],
    "usageMetadata": [None, {}, {"promptTokenCount": 4}, {"totalTokenCount": 2.0}, []],
    "candidates": [None, [], [{}], [{"content": {"parts": [{"text": "other"}]}}] * 2, {}],
    "parts": [None, [], [None], {"text": "one"}, [{"text": "x", "thought": True}]],
    "thoughtSignature": [None, "", "sig"],
    "finishReason": [None, "", "STOP", "MALFORMED_FUNCTION_CALL", 1, {"type": "STOP"}],
    "modelVersion": [None, "", "another", 4],
    "unheard_of": [None, 1, {"a": ["b"]}],
    "id": [None, "", "x", 5],
}


def mutated(draw: random.Random, event: Any) -> Any:
    """Change some objects of an event: keys put in, set to something else, taken out, or put last."""
    event = copy.deepcopy(event)
    for _ in range(draw.randrange(1, 4)):
        objects: list[dict[str, Any]] = []
        _walk(event, objects)
        if not objects:
            break
        place = draw.choice(objects[:4] if draw.random() < 0.7 else objects)
        key = draw.choice(list(place)) if place and draw.random() < 0.6 else draw.choice(list(KEYS))
        what = draw.randrange(4)
        if what == 0:
            place.pop(key, None)
        elif what == 1 and key in place:
            place[key] = place.pop(key)
        else:
            place[key] = copy.deepcopy(draw.choice(KEYS.get(key, [None, "", "x", 0, [], {}])))
    return event


def _walk(value: Any, found: list[dict[str, Any]]) -> None:
    if isinstance(value, dict):
        found.append(value)
        for member in value.values():
            _walk(member, found)
    elif isinstance(value, list):
        for member in value:
            _walk(member, found)


def doubled(draw: random.Random, payload: bytes) -> bytes:
    """Put a member into an object twice, the second time with something else."""
    key = draw.choice(list(KEYS))
    member = written(draw, {key: draw.choice(KEYS[key])}).strip()[1:-1]
    at = draw.choice([place for place, byte in enumerate(payload) if byte == ord("{")] or [0])
    return payload[: at + 1] + member + b"," + payload[at + 1 :]


def pieces_of(draw: random.Random, payloads: list[bytes]) -> list[bytes]:
    """Choose some chunks of a stream, most of them untouched, some changed."""
    start = draw.randrange(max(1, len(payloads) - 12))
    out = []
    for payload in payloads[:3] + payloads[start : start + 12] + payloads[-2:]:
        event = loaded(payload)
        change = draw.randrange(6)
        if event is REFUSED or len(payload) > 2 * COMMON_BYTES_MAX or change == 0:
            out.append(payload)
        elif change == 1:
            out.append(broken(draw, payload))
        elif change == 2:
            out.append(doubled(draw, written(draw, event)))
        else:
            out.append(written(draw, mutated(draw, event)))
    return out


@pytest.mark.parametrize("seed", range(scaled(60, 10)))
def test_changed_recordings_tell_the_same_both_ways(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(25):
        name = draw.choice(list(STREAMS))
        provider = draw.choice([API_OF[name], API_OF[name], API_OF[name], "auto"])
        check_both_ways(pieces_of(draw, STREAMS[name]), provider, draw.choice(SETTINGS))


def chat(extra: bytes = b"", delta: bytes = b'{"content":"a"}') -> bytes:
    return b'{"choices":[{"index":0,"delta":%s}]%s}' % (delta, extra)


@pytest.mark.parametrize(
    ("payload", "is_common"),
    [
        (chat(), True),
        (chat(b',"padding":"%s"' % (b"x" * 100)), True),
        (chat(b',"padding":"%s"' % "é".encode()), True),
        (chat(b',"padding":"\xff"'), False),
        (chat(b',"padding":"\xed\xa0\x80"'), False),
        (chat(b',"padding":%s' % (b"7" * 5000)), False),
        (chat(b',"padding":"%s"' % (b"x" * COMMON_BYTES_MAX)), False),
        (chat(b',"padding":NaN'), False),
        (chat(b',"padding":"\\ud800"'), False),
        (chat(b"}"), False),
    ],
)
def test_a_field_that_is_stepped_over_hides_nothing(payload: bytes, is_common: bool) -> None:  # noqa: FBT001
    adapter = make_adapter("openai-chat")
    assert (adapter.common(payload) is not None) == is_common
    if loaded(payload) is REFUSED:
        translator = Translator(StreamSettings.load({"dialect": "chat", "provider": "openai-chat"}), run_id="run")
        assert "error_message" in [piece.head.kind for piece in translator.chunk(payload)]


@pytest.mark.parametrize(
    ("provider", "share"),
    [("openai-chat", 0.9), ("openai-responses", 0.6), ("anthropic-messages", 0.6), ("gemini", 0.9)],
)
def test_most_of_what_was_recorded_has_a_common_shape(provider: str, share: float) -> None:
    described = [
        described_by(payloads, {"provider": provider}) for name, payloads in STREAMS.items() if API_OF[name] == provider
    ]
    whole = sum(counts["chunks_decoded_whole"] for counts in described)
    assert whole <= (1 - share) * sum(counts["chunks"] for counts in described)


def described_by(payloads: list[bytes], settings: dict[str, Any]) -> dict[str, Any]:
    translator = Translator(StreamSettings.load({"dialect": "chat", **settings}), run_id="run")
    for payload in payloads:
        translator.chunk(payload)
    return translator.describe()


def test_what_is_decoded_whole_is_counted() -> None:
    counts: Callable[..., dict[str, Any]] = described_by
    described = counts([chat(), chat(), chat(b',"error":{"message":"full"}'), chat(), b"{oops", DONE, b": ping"], {})
    assert described["chunks"] == 5
    assert described["chunks_decoded_whole"] == 3  # the first one, which tells whose they are, among them
