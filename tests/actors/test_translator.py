"""One request's translation: ends, errors, steps, usage, ids; and that nothing that comes in can break it."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import InvalidRecord, RequestEnded
from actors.messages import MESSAGE_ADAPTER, MessagePiece, otid_of
from actors.providers.sse import SseDecoder
from actors.records import check_record
from actors.settings import StreamSettings
from actors.stop_reasons import StopReason, from_provider
from actors.translator import DONE, Translator
from tests.assemble import TRACES, assembled, messages_of, payload, translate, without_terminal
from tests.effort import scaled

RECORDED = sorted((TRACES / "recorded").glob("*.sse"))


def chat(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return payload({"id": "x", "object": "chat.completion.chunk", "model": "m", "choices": choices, **more})


def call_piece(arguments: str, name: str = "f") -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, "id": "c", "function": {"name": name, "arguments": arguments}}]}


def translator(**given: Any) -> Translator:
    return Translator(StreamSettings.load({"dialect": "chat", **given}), run_id="run-1")


def events_of(path: Path) -> list[bytes]:
    decoder = SseDecoder()
    return [event.data for event in decoder.feed(path.read_bytes()) + decoder.close()]


def stop_of(messages: list[dict[str, Any]]) -> tuple[str, str | None]:
    assert [message["message_type"] for message in messages[-2:]] == ["stop_reason", "usage_statistics"]
    return messages[-2]["stop_reason"], messages[-2]["provider_reason"]


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chunks", "stop"),
    [
        ([chat({"content": "a"}), chat({}, "stop"), DONE], ("end_turn", "stop")),
        ([chat({"content": "a"}), chat({}, "length")], ("max_tokens", "length")),
        ([chat({"content": "a"}), chat({}, "content_filter")], ("content_filter", "content_filter")),
        ([chat({"content": "a"}), chat({}, "a_new_word")], ("unknown_finish", "a_new_word")),
        ([chat({"refusal": "No."}), chat({}, "stop")], ("refusal", "stop")),
        ([chat(call_piece("{}"), "stop")], ("tool_call", "stop")),
        ([chat({"content": "a"})], ("incomplete", None)),
        ([chat({"content": "a"}), DONE], ("incomplete", None)),
        ([], ("incomplete", None)),
        ([chat({"content": "a"}), payload({"error": {"message": "overloaded"}})], ("error", None)),
        ([chat({"content": "a"}), b"{oops", chat({}, "stop")], ("error", "stop")),
    ],
)  # fmt: skip
def test_the_stop_reason_is_what_the_stream_says(chunks: list[bytes], stop: tuple[str, str | None]) -> None:
    assert stop_of(translate(translator(), chunks)) == stop


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", "end_turn"),
        ("tool_use", "tool_call"),
        ("max_tokens", "max_tokens"),
        ("MAX_TOKENS", "max_tokens"),
        ("stop_sequence", "stop_sequence"),
        ("refusal", "refusal"),
        ("pause_turn", "pause_turn"),
        ("SAFETY", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "error"),
        ("completed", "end_turn"),
        ("max_output_tokens", "max_tokens"),
        ("failed", "error"),
        (None, "incomplete"),
    ],
)
def test_provider_words_have_one_meaning(word: str | None, reason: str) -> None:
    assert from_provider(word) == reason


def test_a_publisher_may_name_the_end() -> None:
    mine = translator()
    mine.chunk(chat({"content": "a"}))
    messages = messages_of(mine.end("timeout_stall", detail="nothing for 300 s", usage={"prompt_tokens": 3, "odd": 1}))
    assert stop_of(messages) == ("timeout_stall", None)
    assert messages[-2]["detail"] == "nothing for 300 s"
    assert (messages[-1]["prompt_tokens"], messages[-1]["total_tokens"], messages[-1]["reported"]) == (3, 3, True)


def test_a_publisher_may_fail() -> None:
    mine = translator()
    messages = messages_of(mine.end(error=("tool_crashed", "it fell over")))
    assert [message["message_type"] for message in messages] == ["error_message", "stop_reason", "usage_statistics"]
    assert (messages[0]["error_type"], messages[0]["message"]) == ("tool_crashed", "it fell over")
    assert stop_of(messages) == ("error", None)
    mine = translator()
    mine.record("message", {"message_type": "assistant_message", "content": "hi"})
    assert stop_of(messages_of(mine.end(error=("tool_crashed", "it fell over")))) == ("error", None)


def test_nothing_comes_after_the_end() -> None:
    mine = translator()
    assert not mine.ended
    mine.end()
    assert mine.ended
    for call in (lambda: mine.chunk(b"{}"), lambda: mine.record("step_end", {}), mine.end):
        with pytest.raises(RequestEnded, match="run-1"):
            call()


def test_what_is_held_back_goes_out_ahead_of_the_terminal() -> None:
    mine = Translator(StreamSettings(), run_id="run-1")
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a": 1'}}
    assert mine.chunk(chat({"tool_calls": [call]})) == []
    messages = messages_of(mine.end())
    assert [message["message_type"] for message in messages] == ["tool_call_message", "stop_reason", "usage_statistics"]
    assert messages[0]["tool_call"] == {"name": "f", "arguments": '{"a": 1', "tool_call_id": "c"}
    assert mine.describe()["warnings"] == {"unterminated_arguments": 1}


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad", [b"{oops", b"[1, 2]", b'"text"', b"17", b"\xff\xfe\x00", b'{"a": 1} {"b"', b"[" * 100_000]
)
def test_a_malformed_chunk_is_an_error_in_this_request_and_the_rest_goes_on(bad: bytes) -> None:
    mine = translator()
    messages = translate(mine, [chat({"content": "a"}), bad, chat({"content": "b"}), chat({}, "stop")])
    errors = [message for message in messages if message["message_type"] == "error_message"]
    assert len(errors) == 1
    assert errors[0]["error_type"] == "malformed_chunk"
    assert errors[0]["detail"].startswith(bad[:20].decode("utf-8", "replace"))
    assert len(errors[0]["detail"]) < 400
    assert assembled(without_terminal(messages))["assistant"] == "ab"
    assert stop_of(messages) == ("error", "stop")
    # The message goes on with the same otid: an error is not part of the response.
    assert len({message["otid"] for message in without_terminal(messages)}) == 1


def test_keepalives_are_nothing() -> None:
    mine = translator()
    for keepalive in (b"", b" ", b"\n\n", b"\t"):
        assert mine.chunk(keepalive) == []
        assert not mine.last_had_content
    assert mine.chunk(b" [DONE] ") == []
    assert mine.describe()["chunks"] == 0


@pytest.mark.parametrize(
    ("chunk", "has_content"),
    [
        (chat({"content": "a"}), True),
        (chat({"reasoning_content": "a"}), True),
        (chat({"role": "assistant", "content": ""}), False),
        (chat(None), False),
        (chat({}, "stop"), False),
        (payload({"type": "ping"}), False),
        (DONE, False),
    ],
)
def test_content_is_told_from_keepalives(chunk: bytes, has_content: bool) -> None:  # noqa: FBT001  # a parameter of the test
    mine = translator()
    mine.chunk(chunk)
    assert mine.last_had_content is has_content


@pytest.mark.parametrize("key", ["content", "reasoning_content", "arguments"])
@pytest.mark.parametrize(
    ("texts", "whole"),
    [
        (["a\ud83d", "\ude00b"], "a😀b"),
        (["\ud83d", "x"], "\ufffdx"),
        (["x\ude00", "y"], "x\ufffdy"),
        (["x\ud83d"], "x\ufffd"),
    ],
)
def test_surrogate_pairs_cut_in_two_by_the_provider(key: str, texts: list[str], whole: str) -> None:
    mine = translator()
    chunks = [chat(call_piece(text) if key == "arguments" else {key: text}) for text in texts]
    result = assembled(without_terminal(translate(mine, chunks)))
    got = {"content": result["assistant"], "reasoning_content": result["reasoning"]}
    assert (result["calls"][0]["arguments"] if key == "arguments" else got[key]) == whole
    assert mine.describe()["error"] is False


# --- steps, ids, usage ----------------------------------------------------------------------------


def test_steps_have_their_own_ids_and_their_usage_adds_up() -> None:
    mine = translator()
    pieces: list[MessagePiece] = mine.record("step_start", {"message_id": "message-" + "a" * 32, "name": "agent"})
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    pieces += mine.chunk(chat({"content": "one"}, "tool_calls"))
    pieces += mine.chunk(chat(None, usage={**usage, "completion_tokens": 1, "total_tokens": 11}))
    pieces += mine.chunk(chat(None, usage=usage))
    pieces += mine.record(
        "message",
        check_record(
            "message",
            {"message_type": "tool_return_message", "tool_return": "ok", "status": "success", "tool_call_id": "c"},
        ),
    )
    pieces += mine.record("step_end", {})
    pieces += mine.record("step_start", {})
    pieces += mine.chunk(chat({"content": "two"}, "stop", usage=usage))
    pieces += mine.end()
    messages = messages_of(pieces)
    one, returned, two = without_terminal(messages)
    assert (one["id"], one["name"], one["run_id"]) == ("message-" + "a" * 32, "agent", "run-1")
    assert returned["otid"] == otid_of(one["id"], 1)
    assert two["id"] not in (one["id"], None)
    assert two["otid"] == otid_of(two["id"], 0)
    counts = {key: messages[-1][key] for key in ("prompt_tokens", "completion_tokens", "total_tokens", "step_count")}
    assert counts == {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30, "step_count": 2}
    assert stop_of(messages) == ("end_turn", "stop")


def test_a_step_that_is_named_names_its_messages_until_the_next_one_begins() -> None:
    mine = translator()
    pieces: list[MessagePiece] = mine.record("step_start", {"step_id": "step-1"})
    pieces += mine.chunk(chat({"content": "one"}, "tool_calls"))
    pieces += mine.record("step_end", {})
    tool_return = {"message_type": "tool_return_message", "tool_return": "", "status": "success", "tool_call_id": "c"}
    pieces += mine.record("message", check_record("message", tool_return))
    pieces += mine.record("message", check_record("message", {**tool_return, "step_id": "its own"}))
    pieces += mine.record("step_start", {})
    pieces += mine.chunk(chat({"content": "two"}, "stop"))
    pieces += mine.end()
    messages = messages_of(pieces)
    assert [message.get("step_id") for message in messages] == ["step-1", "step-1", "its own", None, None, None]
    shown = [MESSAGE_ADAPTER.validate_python(message).model_dump() for message in messages]
    assert ["step_id" in message for message in shown] == [True, True, True, False, False, False]


def test_whole_messages_alone_are_a_turn_that_ended() -> None:
    mine = translator()
    for _ in range(3):
        mine.record("message", {"message_type": "assistant_message", "content": "hi"})
        mine.record("step_end", {})
    messages = messages_of(mine.end())
    assert stop_of(messages) == ("end_turn", None)
    assert messages[-1]["step_count"] == 3


def test_a_streamed_step_that_was_cut_off_stays_incomplete_whatever_the_loop_adds() -> None:
    mine = translator()
    mine.chunk(chat({"content": "a"}))
    mine.record("message", {"message_type": "user_message", "content": "hi"})
    mine.record("step_end", {})
    assert stop_of(messages_of(mine.end())) == ("incomplete", None)


def test_another_response_without_a_step_start_begins_a_step_of_its_own() -> None:
    responses = [chat({"content": "one"}, "stop"), DONE, chat({"content": "two"}, "length"), DONE]
    messages = translate(translator(), responses)
    one, two = without_terminal(messages)
    assert (one["content"], two["content"]) == ("one", "two")
    assert one["id"] != two["id"]
    assert messages[-1]["step_count"] == 2
    assert stop_of(messages) == ("max_tokens", "length")


def test_ids_depend_on_the_run_and_the_step_alone() -> None:
    chunks = [chat({"content": "one"}), DONE, chat({"content": "two"})]
    assert translate(translator(), chunks) == translate(translator(), chunks)
    other = Translator(StreamSettings.load({"dialect": "chat"}), run_id="run-2")
    assert {m["id"] for m in translate(other, chunks)}.isdisjoint(m["id"] for m in translate(translator(), chunks))


def test_further_choices_are_left_out_or_come_with_ids_of_their_own() -> None:
    chunk = payload({"choices": [{"index": i, "delta": {"content": text}} for i, text in enumerate("abc")]})
    first = translator()
    assert assembled(without_terminal(translate(first, [chunk])))["assistant"] == "a"
    assert first.describe()["warnings"] == {"further_choice_left_out": 2}
    messages = without_terminal(translate(translator(choices="all"), [chunk, chunk]))
    told: dict[int, str] = {}
    for message in messages:
        choice = message.get("choice_index", 0)
        told[choice] = told.get(choice, "") + message["content"]
    assert told == {0: "aa", 1: "bb", 2: "cc"}
    assert len({message["id"] for message in messages}) == len({message["otid"] for message in messages}) == 3


def test_the_receipt_of_a_message_is_left_out_and_its_error_is_not() -> None:
    def receipt(status: str) -> dict[str, Any]:
        return {"message_type": "tool_return_message", "tool_return": "None", "status": status, "tool_call_id": "c1"}

    call = {"index": 0, "id": "c1", "function": {"name": "send_message", "arguments": '{"message": "Hi"}'}}
    for status, kinds in (("success", ["assistant_message"]), ("error", ["assistant_message", "tool_return_message"])):
        mine = Translator(StreamSettings(), run_id="r")
        pieces = mine.chunk(chat({"tool_calls": [call]})) + mine.record("message", receipt(status)) + mine.end()
        assert [message["message_type"] for message in without_terminal(messages_of(pieces))] == kinds


def test_every_message_is_one_of_the_models() -> None:
    for path in RECORDED:
        for message in translate(translator(choices="all"), events_of(path)):
            shown = MESSAGE_ADAPTER.validate_python(message).model_dump(mode="json")
            assert shown["message_type"] == message["message_type"]


def test_otids_are_told_apart_beyond_127_messages() -> None:
    mine = translator()
    pieces: list[MessagePiece] = []
    for place in range(400):
        kind = "content" if place % 2 else "reasoning_content"
        pieces += mine.chunk(chat({kind: "x"}))
    assert len({piece.head.fields["otid"] for piece in pieces}) == 400


# --- records --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "body", "problem"),
    [
        ("nonsense", {}, "step_start"),
        ("step_start", {"message_ids": "x"}, "did you mean 'message_id'"),
        ("step_start", {"date": "yesterday"}, "date"),
        ("message", {"message_type": "reply"}, "tool_return_message"),
        ("message", {}, "message_type"),
        (
            "message",
            {"message_type": "tool_return_message", "tool_return": "x", "status": "ok", "tool_call_id": "c"},
            "status",
        ),
        ("message", {"message_type": "reasoning_message", "reasoning": "\ud83d"}, "surrogate"),
        ("message", {"message_type": "user_message", "content": "x", "otid": "no"}, "otid"),
        ("message", [1], "mapping"),
    ],
)
def test_wrong_records_are_refused_with_the_wrong_key_named(kind: str, body: Any, problem: str) -> None:
    with pytest.raises(InvalidRecord, match=problem):
        check_record(kind, body)


@pytest.mark.parametrize(
    "body",
    [
        {"message_type": "user_message", "content": [{"type": "text", "text": "hi"}]},
        {"message_type": "system_message", "content": "be kind"},
        {"message_type": "assistant_message", "content": "hi", "tool_call_id": "c"},
        {"message_type": "reasoning_message", "reasoning": "hm", "source": "reasoner_model", "signature": "s"},
        {"message_type": "hidden_reasoning_message", "state": "omitted"},
        {"message_type": "tool_call_message", "tool_call": {"name": "f", "arguments": "{}", "tool_call_id": "c"}},
        {"message_type": "tool_return_message", "tool_return": "2", "status": "error", "tool_call_id": "c"},
        {"message_type": "function_call", "function_call": "f({'a': 1})"},
    ],
)  # fmt: skip
def test_whole_messages_come_out_as_they_went_in(body: dict[str, Any]) -> None:
    given = {**body, "id": "message-" + "b" * 32, "date": "2025-05-01T12:00:00+02:00", "name": "n"}
    checked = check_record("message", given)
    assert msgpack.unpackb(msgpack.packb(checked)) == checked
    messages = messages_of(translator().record("message", checked))
    assert len(messages) == 1
    wanted = {
        key: value
        for key, value in given.items()
        if not (body["message_type"] == "assistant_message" and key == "tool_call_id")
    }
    assert {key: messages[0][key] for key in wanted} == wanted
    MESSAGE_ADAPTER.validate_python(messages[0])


def test_an_unknown_record_is_a_named_error() -> None:
    with pytest.raises(InvalidRecord, match="nonsense"):
        translator().record("nonsense", {})


# --- anything at all ------------------------------------------------------------------------------

KEYS = (  # noqa: SIM905  # easier to read than a list
    "choices index delta content tool_calls function name arguments id finish_reason usage error type text item event "
    "reasoning_content reasoning refusal candidates parts functionCall args response output_index content_block "
    "partial_json thinking signature"
).split()
json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["{", '{"a":', "f", "c1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
flags = st.fixed_dictionaries(
    {
        "dialect": st.sampled_from(["letta", "chat"]),
        "expect_reasoning_content": st.booleans(),
        "choices": st.sampled_from(["first", "all"]),
        "buffer_bytes_max": st.sampled_from([1, 50, 1024 * 1024]),
        "provider": st.sampled_from(["auto", "openai-chat", "openai-responses", "anthropic-messages", "gemini"]),
    }
)


def check(given: dict[str, Any], payloads: list[bytes]) -> None:
    """Translate anything, and hold it to what always holds."""
    mine = Translator(StreamSettings.load(given), run_id="fuzz")
    pieces: list[MessagePiece] = []
    for item in payloads:
        pieces += mine.chunk(item)
    pieces += mine.end()
    kinds = [piece.head.kind for piece in pieces]
    assert kinds[-2:] == ["stop_reason", "usage_statistics"]
    assert kinds.count("stop_reason") == kinds.count("usage_statistics") == 1
    assert pieces[-2].head.fields["stop_reason"] in set(StopReason)
    for head, text, extra in pieces:
        msgpack.packb((head.fields, text, extra))
    for message in messages_of(pieces):
        MESSAGE_ADAPTER.validate_python(message)
    told = mine.describe()
    assert len(told["unknown"]) <= 65
    assert len(told["warnings"]) <= 65


@given(flags, st.lists(st.binary(max_size=60) | json_like.map(payload), max_size=6))
@settings(max_examples=scaled(500), deadline=None)
def test_random_bytes_and_events(given_flags: dict[str, Any], payloads: list[bytes]) -> None:
    check(given_flags, payloads)


def mutated(chance: random.Random, payloads: list[bytes]) -> list[bytes]:
    """Return a recording with some of its chunks dropped, doubled, swapped, cut, or with values exchanged."""
    out = list(payloads)
    for _ in range(chance.randint(1, 6)):
        place, other = chance.randrange(len(out)), chance.randrange(len(out))
        match chance.randrange(7):
            case 0:
                if len(out) > 1:
                    del out[place]
            case 1:
                out.insert(other, out[place])
            case 2:
                out[place], out[other] = out[other], out[place]
            case 3:
                out[place] = out[place][: chance.randrange(1 + len(out[place]))]
            case 4:
                middle = chance.randrange(1 + len(out[place]))
                out[place] = out[place][:middle] + chance.randbytes(chance.randint(1, 3)) + out[place][middle + 1 :]
            case _:
                out[place] = _with_a_value_exchanged(chance, out[place])
    return out


def _with_a_value_exchanged(chance: random.Random, item: bytes) -> bytes:
    try:
        event = json.loads(item)
    except ValueError:
        return item
    if not isinstance(event, dict | list):
        return item  # what an earlier cut has left of it
    holder: Any = event
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if not keys:
            return item
        key = chance.choice(keys)
        if isinstance(holder[key], dict | list) and chance.random() < 0.8:
            holder = holder[key]
            continue
        holder[key] = chance.choice(
            [None, "", "x", 0, -1, 1.5, True, [], {}, [None], {"a": 1}, "\ud83d", 10**30, [[]], "{"]
        )
        return payload(event)


FUZZ_RUNS = scaled(600)


def test_mutated_recordings() -> None:
    seed = int(os.environ.get("FUZZ_SEED", "20250501"))
    recordings = [events_of(path) for path in RECORDED]
    for run in range(FUZZ_RUNS):
        chance = random.Random(f"{seed}/{run}")  # chaos, not secrets
        given_flags = {
            "dialect": chance.choice(["letta", "chat"]),
            "expect_reasoning_content": chance.random() < 0.5,
            "choices": chance.choice(["first", "all"]),
            "buffer_bytes_max": chance.choice([1, 200, 1024 * 1024]),
        }
        try:
            check(given_flags, mutated(chance, chance.choice(recordings)[:400]))
        except Exception as error:
            error.add_note(f"replay with FUZZ_SEED={seed}, run {run}")
            raise
