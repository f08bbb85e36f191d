"""However a provider cuts its text and its JSON, the messages and their ids are the same."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.providers.sse import SseDecoder
from tests.assemble import TRACES as FOLDER
from tests.assemble import load, traces, translate, translator_of
from tests.effort import scaled

TRACES = [*traces("golden", "chunks"), *traces("defects", "chunks")]
# Where two calls' pieces alternate, moving one piece past another makes another stream.
INTERLEAVED = {"D11-3"}
# A chunk with more in its choice than this stays as it is.
_PLAIN = {"index", "delta", "finish_reason", "native_finish_reason", "logprobs", "stop_reason", "token_ids"}
Cut = Callable[[str], list[str]]
Chunk = dict[str, Any]


def by_name(path: Path) -> str:
    return path.stem


def cut_again(chunks: list[Chunk], cut: Cut) -> list[Chunk]:
    """Join each run of pieces of the same text, and cut it anew."""
    out: list[Chunk] = []
    for (holder, _), run in _runs(chunks):
        texts = [_text_of(chunk, holder) for chunk in run]
        whole = "".join(texts)
        pieces = cut(whole) if whole else []
        first = run[0]
        if not pieces:
            out.extend(run)
            continue
        for place, piece in enumerate(pieces):
            out.append(_with_text(first if place == 0 else _bare(first, holder), holder, piece))
    return out


def _runs(chunks: list[Chunk]) -> Iterator[tuple[tuple[str, Any], list[Chunk]]]:
    run: list[Chunk] = []
    key: tuple[str, Any] | None = None
    for chunk in chunks:
        holder = _holder(chunk)
        if holder is not None and holder == key and not _begins(chunk, holder[0]):
            run.append(chunk)
            continue
        if run:
            yield key or ("", None), run
        run, key = [chunk], holder
    if run:
        yield key or ("", None), run


def _delta(chunk: Chunk) -> dict[str, Any]:
    choices = chunk.get("choices") or []
    return choices[0].get("delta") or {} if len(choices) == 1 else {}


def _holder(chunk: Chunk) -> tuple[str, Any] | None:
    """Return which text a chunk holds a piece of, if it holds nothing else."""
    if chunk.get("usage") or set((chunk.get("choices") and chunk["choices"][0]) or ()) - _PLAIN:
        return None
    choice = chunk["choices"][0].get("index") if chunk.get("choices") else None
    delta = {key: value for key, value in _delta(chunk).items() if value is not None and key != "role"}
    if delta.get("content") == "":
        del delta["content"]
    if set(delta) == {"tool_calls"} and len(delta["tool_calls"]) == 1:
        call = delta["tool_calls"][0]
        return (
            ("arguments", (choice, call.get("index")))
            if isinstance(call.get("function", {}).get("arguments"), str)
            else None
        )
    for key in ("content", "reasoning_content"):
        if set(delta) == {key} and isinstance(delta[key], str):
            return key, (choice, None)
    return None


def _begins(chunk: Chunk, holder: str) -> bool:
    if (chunk["choices"][0].get("finish_reason")) is not None:
        return True
    if holder != "arguments":
        return False
    call = _delta(chunk)["tool_calls"][0]
    return bool(call["function"].get("name")) or bool(call.get("id"))


def _text_of(chunk: Chunk, holder: str) -> str:
    delta = _delta(chunk)
    text = delta["tool_calls"][0]["function"]["arguments"] if holder == "arguments" else delta.get(holder)
    return text if isinstance(text, str) and holder else ""


def _with_text(chunk: Chunk, holder: str, text: str) -> Chunk:
    chunk = copy.deepcopy(chunk)
    if holder == "arguments":
        _delta(chunk)["tool_calls"][0]["function"]["arguments"] = text
    else:
        _delta(chunk)[holder] = text
    return chunk


def _bare(chunk: Chunk, holder: str) -> Chunk:
    """Return a chunk like this one, but for what only a first piece says."""
    chunk = copy.deepcopy(chunk)
    chunk["choices"][0]["finish_reason"] = None
    if holder == "arguments":
        call = _delta(chunk)["tool_calls"][0]
        call["function"].pop("name", None)
        if "index" in call:
            call.pop("id", None)
    return chunk


def cut_at(place: int) -> Cut:
    return lambda text: [text[:place], text[place:]] if 0 < place < len(text) else [text]


def at_random(seed: int) -> Cut:
    def cut(text: str) -> list[str]:
        chance = random.Random(f"{seed}/{text}")  # cuts, not secrets
        places = (
            sorted(chance.sample(range(1, len(text)), min(chance.randint(0, 12), len(text) - 1)))
            if len(text) > 1
            else []
        )
        return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]

    return cut


def run(trace: dict[str, Any], cut: Cut | None) -> list[dict[str, Any]]:
    chunks = trace["chunks"] if cut is None else cut_again(trace["chunks"], cut)
    return translate(translator_of(trace), chunks)


@pytest.mark.parametrize("path", [path for path in TRACES if path.stem not in INTERLEAVED], ids=by_name)
def test_whole_and_one_character_at_a_time(path: Path) -> None:
    trace = load(path)
    expected = run(trace, None)
    assert run(trace, lambda text: [text]) == expected
    assert run(trace, list) == expected


@pytest.mark.parametrize("path", [path for path in TRACES if path.stem not in INTERLEAVED], ids=by_name)
def test_cut_at_every_position(path: Path) -> None:
    trace = load(path)
    expected = run(trace, None)
    length = max(
        (len("".join(_text_of(c, (_holder(c) or ("",))[0]) for c in r)) for _, r in _runs(trace["chunks"])), default=0
    )
    # All texts are cut at the same place; a long one at a row of places that differs from trace to trace.
    step = 1 + length // scaled(250)
    for place in range(1 + len(path.stem) % step, length, step):
        assert run(trace, cut_at(place)) == expected, place


@given(st.sampled_from([path for path in TRACES if path.stem not in INTERLEAVED]), st.integers(0, 2**32))
@settings(max_examples=scaled(600), deadline=None)
def test_cut_at_random(path: Path, seed: int) -> None:
    trace = load(path)
    assert run(trace, at_random(seed)) == run(trace, None)


def recorded_chat() -> list[str]:
    index = json.loads((FOLDER / "recorded" / "index.json").read_text(encoding="utf-8"))
    return sorted(entry["file"] for entry in index if entry["api"] == "openai-chat")


@pytest.mark.parametrize("inner_thoughts", [False, True])
@pytest.mark.parametrize("name", recorded_chat())
def test_recorded_streams_cut_anew(name: str, inner_thoughts: bool) -> None:  # noqa: FBT001  # a parameter of the test
    decoder = SseDecoder()
    events = decoder.feed((FOLDER / "recorded" / name).read_bytes()) + decoder.close()
    chunks = [json.loads(event.data) for event in events if event.data != b"[DONE]"]
    flags = {"inner_thoughts_in_kwargs": inner_thoughts, "use_assistant_message": inner_thoughts}
    trace = {"settings": flags, "chunks": chunks}
    expected = run(trace, None)
    for cut in (lambda text: [text], list, *map(at_random, range(5))):
        assert run(trace, cut) == expected


def test_cutting_cuts() -> None:
    trace = load(FOLDER / "golden" / "assistant-01.json")
    assert len(cut_again(trace["chunks"], lambda text: [text])) == 2  # the call, the end
    assert len(cut_again(trace["chunks"], list)) > 100


def test_interleaved_calls_keep_their_own_messages_at_every_cut() -> None:
    arguments = {0: '{"inner_thoughts": "One.", "a": "bcd"}', 1: '{"inner_thoughts": "Two.", "a": "wxyz"}'}
    for seed in range(200):
        chance = random.Random(seed)  # cuts, not secrets
        pieces = {index: at_random(seed + index)(text) for index, text in arguments.items()}
        chunks = [_call_chunk(index, "", id=f"call_{index}", name=name) for index, name in enumerate("fg")]
        while any(pieces.values()):
            index = chance.choice([index for index, left in pieces.items() if left])
            chunks.append(_call_chunk(index, pieces[index].pop(0)))
        trace = {"settings": {"use_assistant_message": False, "inner_thoughts_in_kwargs": True}, "chunks": chunks}
        messages = run(trace, None)
        told: dict[str, str] = {}
        for message in messages:
            told[message.get("otid") or ""] = told.get(message.get("otid") or "", "") + message.get("reasoning", "")
        assert sorted(text for text in told.values() if text) == ["One.", "Two."], seed
        calls: dict[str, str] = {}
        for message in messages:
            if "tool_call" in message:
                call = message["tool_call"]
                calls[call["tool_call_id"]] = calls.get(call["tool_call_id"], "") + call.get("arguments", "")
        assert calls == {"call_0": '{"a": "bcd"}', "call_1": '{"a": "wxyz"}'}, seed


def _call_chunk(index: int, text: str, **head: str) -> Chunk:
    function = {"arguments": text, **({"name": head["name"]} if head else {})}
    call = {"index": index, "function": function, **({"id": head["id"]} if head else {})}
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}
