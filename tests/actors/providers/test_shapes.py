"""Promise: each shape that the providers' docs describe becomes the deltas it should."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from provider_joining import API_OF, FILES, deltas_of, events_of, join
from provider_shapes import SHAPES

from actors.deltas import StreamError, Text, Unknown
from actors.providers import make_adapter
from actors.providers.detect import AutoAdapter
from actors.providers.gemini_args import PartialArguments
from tests.effort import scaled

NAMES = [f"{shape.provider}: {shape.name}" for shape in SHAPES]


@pytest.mark.parametrize("shape", SHAPES, ids=NAMES)
def test_shape(shape):
    events = copy.deepcopy(shape.events)
    assert deltas_of(shape.provider, events) == shape.deltas
    assert events == shape.events, "an adapter changed the event it was given"


def test_names_of_shapes_are_told_apart():
    assert len(set(NAMES)) == len(NAMES)


# What every provider sends alike, or no provider sends, cannot tell whose a stream is.
ANYBODYS = ("unknown", "error", "event without keys")


@pytest.mark.parametrize(
    "shape",
    [shape for shape in SHAPES if not shape.name.startswith(ANYBODYS) and shape.name != "progress and keepalives"],
    ids=lambda shape: f"{shape.provider}: {shape.name}",
)
def test_auto_reads_every_shape_like_the_adapter_named(shape):
    assert deltas_of("auto", shape.events) == shape.deltas


def test_auto_passes_an_error_on_and_goes_on_looking():
    adapter = make_adapter("auto")
    assert isinstance(adapter, AutoAdapter)
    assert adapter.feed({"error": {"message": "no", "type": "x"}}) == [StreamError("no", "x")]
    assert adapter.feed({"type": "error", "error": {"message": "no", "type": "x"}}) == [StreamError("no", "x")]
    assert adapter.feed({"object": "error", "message": "no", "type": "x"}) == [StreamError("no", "x")]
    assert adapter.feed({"hello": 1}) == [Unknown("event with keys hello")]
    assert adapter.feed({"type": "hello"}) == [Unknown("event hello")]
    assert adapter.provider == "auto"
    assert adapter.close() == []
    assert adapter.feed({"choices": [{"delta": {"content": "a"}}]}) == [Text("a")]
    assert adapter.provider == "openai-chat"


@pytest.mark.parametrize(
    ("event", "provider"),
    [
        ({"type": "error", "error": {}, "request_id": "r"}, "anthropic-messages"),
        ({"type": "error", "message": "m", "sequence_number": 0}, "openai-responses"),
        ({"type": "ping"}, "auto"),
        ({"type": "message_start"}, "anthropic-messages"),
        ({"choices": None, "object": ""}, "openai-chat"),
        ({"object": "chat.completion.chunk"}, "openai-chat"),
        ({"usageMetadata": {}}, "gemini"),
        ({"object": "response"}, "openai-responses"),
        ({"type": ["ping"], "object": {}, "candidates": 0}, "gemini"),
    ],
)
def test_auto_tells_by_one_event(event, provider):
    adapter = make_adapter("auto")
    adapter.feed(event)
    assert isinstance(adapter, AutoAdapter)
    assert adapter.provider == provider


def test_two_responses_in_a_row_do_not_mix():
    for name in FILES:
        once = join(deltas_of(API_OF[name], events_of(name)))
        twice = join(deltas_of(API_OF[name], events_of(name) * 2))
        assert twice.text == once.text * 2
        assert twice.reasoning == once.reasoning * 2
        assert twice.usage == once.usage
        assert twice.finish == once.finish


def test_responses_calls_with_swapped_and_missing_item_ids_stay_apart():
    events = events_of("openai-responses-parallel-tools-reasoning-1.sse")
    expected = join(deltas_of("openai-responses", events)).as_expected()
    for number, event in enumerate(events):
        if "item_id" in event:
            event["item_id"] = f"other{number}"
    assert join(deltas_of("openai-responses", events)).as_expected() == expected
    for event in events:
        event.pop("item_id", None)
    assert join(deltas_of("openai-responses", events)).as_expected() == expected


# --- arguments as paths and values ----------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
LEAVES = TEXTS | st.booleans() | st.none() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False)
ARGUMENTS = st.dictionaries(
    TEXTS,
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(TEXTS, inner, min_size=1, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


def leaves_of(value, path="$"):
    if isinstance(value, dict):
        for key, member in value.items():
            plain = key and not set(key) & set(".[]'\"\\")
            quoted = key.replace("\\", "\\\\").replace("'", "\\'")
            yield from leaves_of(member, f"{path}.{key}" if plain else f"{path}['{quoted}']")
    elif isinstance(value, list):
        for number, member in enumerate(value):
            yield from leaves_of(member, f"{path}[{number}]")
    else:
        yield path, value


def partials(path, value, places):
    """Return a leaf as the pieces in which it could come."""
    if isinstance(value, str):
        cuts = sorted({place for place in places if 0 <= place <= len(value)})
        texts = [value[start:end] for start, end in zip([0, *cuts], [*cuts, len(value)], strict=True)]
        for number, text in enumerate(texts):
            yield {"jsonPath": path, "stringValue": text, "willContinue": number < len(texts) - 1}
    elif value is None:
        yield {"jsonPath": path, "nullValue": "NULL_VALUE"}
    else:
        yield {"jsonPath": path, "boolValue" if isinstance(value, bool) else "numberValue": value}


@settings(max_examples=scaled(500), deadline=None)
@given(ARGUMENTS, st.lists(st.integers(0, 6), max_size=4))
def test_streamed_arguments_are_the_arguments_however_cut(arguments, places):
    writer = PartialArguments()
    text = ""
    for path, value in leaves_of(arguments):
        for leaf in partials(path, value, places):
            piece = writer.feed(leaf)
            assert piece is not None, leaf
            text += piece
    assert json.loads(text + writer.close()) == arguments


@pytest.mark.parametrize(
    "leaf",
    [
        {"jsonPath": "$.a.b", "stringValue": "x"},  # inside a leaf
        {"jsonPath": "$.a", "stringValue": "x"},  # the same leaf, which is complete
        {"jsonPath": "$.l[0]", "stringValue": "x"},  # behind
        {"jsonPath": "$.l[9999]", "stringValue": "x"},  # far ahead
        {"jsonPath": "$.m[9999]", "stringValue": "x"},
        {"jsonPath": "$.l.k", "stringValue": "x"},  # an object where an array is
        {"jsonPath": "$[0]", "stringValue": "x"},
        {"jsonPath": "$.o.k", "stringValue": "x"},  # back into what is closed
        {"jsonPath": "$", "stringValue": "x"},
        {"jsonPath": "a", "stringValue": "x"},
        {"jsonPath": "$.." + "a" * 3, "stringValue": "x"},
        {"jsonPath": "$" + ".a" * 1000, "stringValue": "x"},
        {"jsonPath": None},
        {},
    ],
    ids=str,
)
def test_a_leaf_that_fits_nowhere_is_refused_and_harms_nothing(leaf):
    writer = PartialArguments()
    text = ""
    for path in ("$.a", "$.o.k", "$.l[0]", "$.l[1]"):
        text += writer.feed({"jsonPath": path, "stringValue": "v"}) or ""
    assert writer.feed(leaf) is None
    text += (writer.feed({"jsonPath": "$.l[2]", "numberValue": 1}) or "") + writer.close()
    assert json.loads(text) == {"a": "v", "o": {"k": "v"}, "l": ["v", "v", 1]}
