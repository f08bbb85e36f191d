"""Streams of chunks: what the reference says where it is right, and what is right where it is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.messages import otid_of
from tests.assemble import assembled, joined, load, matches, traces, translate, translator_of, without_terminal

GOLDEN = traces("golden", "chunks")
DEFECTS = traces("defects", "chunks")


def by_name(path: Path) -> str:
    return path.stem


def run(trace: dict[str, Any]) -> list[dict[str, Any]]:
    return without_terminal(translate(translator_of(trace), trace["chunks"]))


def renumbered(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the n-th message the otid of index n (D39 put right)."""
    return [{**message, "otid": otid_of(message["id"], index)} for index, message in enumerate(messages)]


@pytest.mark.parametrize("path", GOLDEN, ids=by_name)
def test_golden_messages(path: Path) -> None:
    trace = load(path)
    got = joined(run(trace))
    # The reference's empty pieces (D23) are no messages.
    expected = [
        message
        for message in joined(trace["expected"])
        if message["message_type"] != "reasoning_message" or message["reasoning"] or message["signature"]
    ]
    wanted = renumbered(expected)
    assert [_without_nulls(message) for message in got] == [_without_nulls(message) for message in wanted]


@pytest.mark.parametrize("path", GOLDEN, ids=by_name)
def test_golden_in_the_end(path: Path) -> None:
    trace = load(path)
    assert assembled(run(trace)) == trace["assembled"]


@pytest.mark.parametrize("path", DEFECTS, ids=by_name)
def test_defects_in_the_end(path: Path) -> None:
    trace = load(path)
    assert matches(assembled(run(trace)), trace["right"])


@pytest.mark.parametrize("path", [*GOLDEN, *DEFECTS], ids=by_name)
def test_the_nth_message_bears_index_n_and_is_never_empty(path: Path) -> None:
    trace = load(path)
    messages = run(trace)
    numbers: dict[str, int] = {}
    for message in messages:
        numbers.setdefault(message["otid"], len(numbers))
    for message in messages:
        assert message["otid"] == otid_of(message["id"], numbers[message["otid"]])
        if message["message_type"] == "reasoning_message":
            assert message["reasoning"] or message["signature"]


@pytest.mark.parametrize("path", [*GOLDEN, *DEFECTS], ids=by_name)
def test_traces_are_read_without_warnings(path: Path) -> None:
    trace = load(path)
    translator = translator_of(trace)
    translate(translator, trace["chunks"])
    told = translator.describe()
    assert told["unknown"] == {}
    # D12 has a second choice, which these settings leave out.
    assert told["warnings"] == ({"further_choice_left_out": 1} if path.stem == "D12-1" else {})


def _without_nulls(message: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in message.items() if value is not None}
