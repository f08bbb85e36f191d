"""Promise: every recorded stream says, as deltas, what an independent reading of its SSE says."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from provider_joining import API_OF, EXPECTED, FILES, INDEX, TRACES, deltas_of, events_of, join, texts_of

from actors.deltas import BlockBoundary, Model, Reasoning, Text
from actors.providers import make_adapter
from actors.providers.detect import AutoAdapter

# Where the independent reading is less than what the stream says.
FULLER_CALLS = {
    # It knows no `partialArgs`, and so takes calls whose arguments stream for calls without any.
    "google-parallel-tools-reasoning-1.sse": [
        ("read_theme", {}),
        ("read_screen", {"id": "A"}),
        ("read_screen", {"id": "B"}),
        ("read_screen", {"id": "C"}),
    ],
    # Four responses in one file; it keys calls by output_index over all of them, and so loses one.
    "openai-responses-parallel-tools-reasoning-2.sse": [
        ("calculator", {"a": 12, "b": 7, "op": "add"}),
        ("calculator", {"a": 19, "b": 3, "op": "multiply"}),
        ("calculator", {"a": 57, "b": 10, "op": "multiply"}),
    ],
}
# What has no message form, or is another API than the one recorded.
UNKNOWN = {
    "anthropic-text-1.sse": {"event completion"},
    "anthropic-text-3.sse": {"content block compaction"},
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["named", "auto"])
def test_recording_gives_what_it_says(name, how):
    joined = join(deltas_of(API_OF[name] if how == "named" else "auto", events_of(name)))
    got, expected = joined.as_expected(), dict(EXPECTED[name])
    if name in FULLER_CALLS:
        calls = [(call["name"], json.loads(call["arguments"])) for call in got.pop("tool_calls")]
        assert calls == FULLER_CALLS[name]
        assert expected.pop("tool_calls") != calls
    assert got == expected
    assert set(joined.unknown) == UNKNOWN.get(name, set())


def test_every_recording_has_an_expectation():
    assert sorted(EXPECTED) == sorted(FILES)
    assert len(INDEX) == len(set(FILES)) > 80


@pytest.mark.parametrize("name", FILES)
def test_auto_tells_the_provider(name):
    adapter = make_adapter("auto")
    assert isinstance(adapter, AutoAdapter)
    assert adapter.provider == "auto"
    adapter.feed(events_of(name)[0])
    assert adapter.provider == API_OF[name]


@pytest.mark.parametrize("name", FILES)
def test_model_is_told_once_per_change(name):
    models = [delta.name for delta in deltas_of("auto", events_of(name)) if isinstance(delta, Model)]
    assert all(before != after for before, after in pairwise(models))
    assert all(f'"{model}"' in "".join(texts_of(name)) for model in models)
    if name != "anthropic-text-1.sse":  # the older API, which is not read
        assert set(INDEX[FILES.index(name)]["models"]) <= set(models)


@pytest.mark.parametrize("name", FILES)
def test_text_deltas_are_never_empty(name):
    deltas = deltas_of("auto", events_of(name))
    assert all(delta.text for delta in deltas if isinstance(delta, Text | Reasoning))


@pytest.mark.parametrize("name", [name for name in FILES if API_OF[name] in ("anthropic-messages", "openai-responses")])
def test_calls_of_block_providers_end_once_and_hold_json(name):
    joined = join(deltas_of("auto", events_of(name)))
    for call in joined.calls:
        assert call.ended == 1
        if joined.finish != "incomplete":
            assert isinstance(json.loads(call.arguments), dict)


@pytest.mark.parametrize("name", FILES)
def test_returns_belong_to_calls_of_the_provider(name):
    joined = join(deltas_of("auto", events_of(name)))
    own = {call.id for call in joined.calls if call.provider_executed}
    assert {returned.id for returned in joined.returns} <= own
    assert all(returned.name for returned in joined.returns)


def test_provider_tools_of_all_kinds_come_with_their_returns():
    kinds = {
        (API_OF[name], returned.name) for name in FILES for returned in join(deltas_of("auto", events_of(name))).returns
    }
    assert kinds >= {
        ("anthropic-messages", "bash_code_execution"),
        ("anthropic-messages", "text_editor_code_execution"),
        ("anthropic-messages", "web_search"),
        ("anthropic-messages", "web_fetch"),
        ("anthropic-messages", "tool_search_tool_bm25"),
        ("anthropic-messages", "advisor"),
        ("anthropic-messages", "ask_question"),
        ("openai-responses", "shell"),
        ("openai-responses", "code_interpreter"),
        ("openai-responses", "file_search"),
        ("openai-responses", "web_search"),
        ("openai-responses", "tool_search"),
        ("openai-responses", "mcp_list_tools"),
        ("openai-responses", "ask_question"),
        ("gemini", "code_execution"),
        ("openai-chat", "search"),
    }


def test_blocks_are_kept_apart():
    deltas = deltas_of("auto", events_of("anthropic-search-5.sse"))
    starts = [
        event["content_block"]["type"] for event in events_of("anthropic-search-5.sse") if "content_block" in event
    ]
    assert sum(isinstance(delta, BlockBoundary) for delta in deltas) == starts.count("text") > 5


GOLDEN = sorted(path for path in (TRACES / "golden").glob("*.json") if "chunks" in json.loads(path.read_text()))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_chunks_leave_nothing_unknown(path):
    trace = json.loads(path.read_text())
    joined = join(deltas_of("auto", trace["chunks"]))
    assert joined.unknown == []
    assert joined.hidden_reasoning == trace["assembled"]["hidden"]
    if path.stem.startswith(("claude-thinking", "claude-redacted")):
        assert joined.reasoning == trace["assembled"]["reasoning"]
        assert joined.usage is not None
        assert joined.usage.completion_tokens


@pytest.mark.parametrize("name", ["D22-1", "D30-1", "D30-3", "D14-5"])
def test_what_the_reference_dropped_is_there(name):
    trace = json.loads((TRACES / "defects" / f"{name}.json").read_text())
    joined = join(deltas_of("auto", trace["chunks"]))
    assert joined.reasoning + joined.text == trace["right"]["reasoning"]
    assert "".join(joined.signatures) == trace["right"]["signature"]
