"""vLLM's outputs, by objects shaped after its documented types: the package needs an accelerator."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from pumped import pumped


@dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: list[int]
    finish_reason: str | None = None
    stop_reason: int | str | None = None


@dataclass
class RequestOutput:
    outputs: list[CompletionOutput]
    finished: bool = False
    request_id: str = "req"
    prompt_token_ids: list[int] | None = field(default_factory=lambda: [1, 2, 3])
    num_cached_tokens: int | None = 2
    metrics: Any = None


WORDS = ["Once", " upon", " a", " a", " time"]
TOKENS = [10, 11, 12, 12, 13]


def outputs(kind: str, *, sizes=(1, 1, 1, 1, 1), counts: bool = False, reason="stop", stop=None) -> list[RequestOutput]:
    """Return a request's outputs, so many tokens new in each."""
    out = []
    at = 0
    for size in sizes:
        start, at = (0 if kind == "cumulative" else at), at + size
        is_last = at == len(WORDS)
        completion = CompletionOutput(
            0, "".join(WORDS[start:at]), TOKENS[start:at], reason if is_last else None, stop if is_last else None
        )
        metrics = SimpleNamespace(num_generation_tokens=at) if counts else None
        out.append(RequestOutput([completion], is_last, metrics=metrics))
    return out


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1, 1), (2, 3), (1, 3, 1), (5,), (3, 1, 1)])
@pytest.mark.parametrize("kind", ["cumulative", "delta"])
async def test_every_token_is_told_once_in_each_kind_of_output(kind, sizes, counts):
    got = await pumped(outputs(kind, sizes=sizes, counts=counts))
    assert got.text == "Once upon a a time"
    assert [got.usage[key] for key in ("prompt_tokens", "completion_tokens", "cached_tokens")] == [3, 5, 2]
    assert got.stop["stop_reason"] == "end_turn"


@pytest.mark.parametrize("kind", ["cumulative", "delta"])
async def test_the_same_token_twice_at_the_beginning_is_told_twice(kind):
    tokens = [CompletionOutput(0, " ha", [7]), CompletionOutput(0, " ha", [7]), CompletionOutput(0, "!", [8], "stop")]
    if kind == "cumulative":
        tokens = [
            CompletionOutput(0, " ha", [7]), CompletionOutput(0, " ha ha", [7, 7]),
            CompletionOutput(0, " ha ha!", [7, 7, 8], "stop"),
        ]  # fmt: skip
    got = await pumped([RequestOutput([one], one.finish_reason is not None) for one in tokens])
    assert got.text == " ha ha!"
    assert got.usage["completion_tokens"] == 3


@pytest.mark.parametrize(
    ("reason", "stop", "right"),
    [
        ("length", None, "max_tokens"),
        ("abort", None, "error"),
        ("stop", "\n\n", "end_turn"),
        (None, None, "incomplete"),
    ],
)
async def test_why_it_ended_is_told(reason, stop, right):
    all_of_it = outputs("delta", reason=reason, stop=stop)
    got = await pumped(all_of_it if reason else all_of_it[:-1])
    assert got.stop["stop_reason"] == right
    assert got.stop["detail"] == stop


async def test_an_end_without_a_token_adds_nothing():
    for kind in ("cumulative", "delta"):
        last = CompletionOutput(0, "", [], "abort")
        if kind == "cumulative":
            last = CompletionOutput(0, "Once upon", TOKENS[:2], "abort")
        got = await pumped([*outputs(kind)[:2], RequestOutput([last], finished=True)])
        assert got.text == "Once upon"


async def test_choices_are_told_apart():
    events = [
        RequestOutput([CompletionOutput(0, "a", [1]), CompletionOutput(1, "x", [2])]),
        RequestOutput([CompletionOutput(1, "xy", [2, 3], "stop")]),
        RequestOutput([CompletionOutput(0, "ab", [1, 4], "stop")], finished=True),
    ]
    got = await pumped(events, choices="all")
    texts: dict[Any, str] = {}
    for message in got.of("assistant_message"):
        texts[message.get("choice_index")] = texts.get(message.get("choice_index"), "") + message["content"]
    assert texts == {None: "ab", 1: "xy"}
    assert got.usage["completion_tokens"] == 4
