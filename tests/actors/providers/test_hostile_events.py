"""Promise: no event makes an adapter raise anything but MalformedChunk, and none makes it hold more and more."""

from __future__ import annotations

import copy
import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from provider_joining import API_OF, FILES, events_of, texts_of
from provider_shapes import SHAPES

from actors import deltas
from actors.errors import MalformedChunk
from actors.providers import make_adapter
from tests.effort import scaled

PROVIDERS = ["openai-chat", "openai-responses", "anthropic-messages", "gemini", "auto"]
KINDS = tuple(getattr(deltas, name) for name in deltas.__dict__ if name[0].isupper() and name != "Delta")
TEXTS = {"text", "signature", "reason", "name", "what", "kind", "status", "data", "detail", "arguments", "id"}
NUMBERS = {"choice", "index", "prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens"}
# What a field of each kind of delta holds, where it holds anything.
FIELDS = {
    kind: [(name, str if name in TEXTS else int) for name in kind.__struct_fields__ if name in TEXTS | NUMBERS]
    for kind in KINDS
    if issubclass(kind, Struct)
}


def words():
    """Return every key and every short string of the recordings: what a tree must hold to get anywhere."""
    found = set()

    def walk(value):
        if isinstance(value, dict):
            for key, member in value.items():
                found.add(key)
                walk(member)
        elif isinstance(value, list):
            for member in value:
                walk(member)
        elif isinstance(value, str) and len(value) < 50:
            found.add(value)

    for name in FILES:
        for text in texts_of(name)[:6] + texts_of(name)[-2:]:
            walk(json.loads(text))
    return sorted(found)


WORDS = words()
SCALARS = (
    st.none()
    | st.booleans()
    | st.sampled_from([-1, 0, 1, 2, 2**63, 10**400])
    | st.floats()
    | st.sampled_from(["", "\ud800", "0", "12", "é\n"])
    | st.sampled_from(WORDS)
)
KEYS = st.sampled_from(WORDS)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=25
)


def check(provider, events):
    adapter = make_adapter(provider)
    for event in events:
        if isinstance(event, dict):
            out = adapter.feed(event)
        else:
            with pytest.raises(MalformedChunk):
                adapter.feed(event)
            continue
        for delta in out:
            check_delta(delta)
    for delta in adapter.close():
        check_delta(delta)


def check_delta(delta):
    """Check that a delta holds what its class promises: whoever reads it does not look again."""
    assert type(delta) in FIELDS
    for field, kind in FIELDS[type(delta)]:
        value = getattr(delta, field)
        assert value is None or type(value) is kind, delta
    if isinstance(delta, deltas.Unknown):
        assert 0 < len(delta.what) <= 201


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("event", [None, 1, 1.5, True, "text", b"bytes", [], [{}], [[1]]], ids=repr)
def test_what_is_no_object_is_a_malformed_chunk(provider, event):
    with pytest.raises(MalformedChunk, match=type(event).__name__):
        make_adapter(provider).feed(event)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_random_trees(provider):
    @settings(max_examples=scaled(150), deadline=None)
    @given(st.lists(TREES, max_size=5))
    def run(events):
        check(provider, events)

    run()


def places_of(value, path=()):
    yield path
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield from places_of(member, (*path, key))


def each_place(event, depth_max=1_000):
    """Yield a function for each place of an event; it sets something there, in one copy of the event, and returns it.

    The copy is whole again before the next place: a copy for each would take longer than what is tried.
    """
    changed = copy.deepcopy(event)
    for place in [path for path in places_of(event) if 0 < len(path) <= depth_max]:
        parent = changed
        for key in place[:-1]:
            parent = parent[key]
        before = parent[place[-1]]

        def put(value, parent=parent, key=place[-1]):
            parent[key] = value
            return changed

        yield put
        parent[place[-1]] = before


def mutate(event, data):
    """Change one place of an event: another value, no value, another key, or said twice."""
    place = data.draw(st.sampled_from([path for path in places_of(event) if path]))
    parent = event
    for key in place[:-1]:
        parent = parent[key]
    last = place[-1]
    what = data.draw(st.sampled_from(["replace", "remove", "wrap", "unwrap", "add"]))
    if what == "replace":
        parent[last] = data.draw(TREES)
    elif what == "remove":
        del parent[last]
    elif what == "wrap":
        parent[last] = [parent[last]]
    elif what == "unwrap":
        value = parent[last]
        parent[last] = value[0] if isinstance(value, list) and value else json.dumps(value)
    elif isinstance(parent, dict):
        parent[data.draw(KEYS)] = data.draw(TREES)
    else:
        parent.insert(last, copy.deepcopy(parent[last]))


WRONG = [None, True, -1, 0, 1.5, 10**400, "", "x", "0", [], [None], ["x"], [{}], [[1]], {}, {"x": 1}, {"type": "x"}]

# All of them, or with less effort some, others at each place.
WRONG_A_PLACE = scaled(len(WRONG), at_least=4)


def shape_of(value):
    """Return what an event looks like, its values aside: events of one shape take the same way through an adapter."""
    if isinstance(value, dict):
        return tuple((key, shape_of(member)) for key, member in value.items())
    if isinstance(value, list):
        return tuple(dict.fromkeys(shape_of(member) for member in value))
    return type(value)


@pytest.mark.parametrize("provider", PROVIDERS[:4])
def test_every_place_of_every_shape_set_to_every_wrong_type(provider):
    seen = set()
    streams = [events_of(name) for name in FILES if API_OF[name] == provider]
    streams += [shape.events for shape in SHAPES if shape.provider == provider]
    for events in streams:
        for number, event in enumerate(events):
            shape = (event.get("type"), shape_of(event))
            if shape in seen or len(json.dumps(event)) > 20_000:
                continue
            seen.add(shape)
            before = events[max(0, number - 3) : number]
            for at, put in enumerate(each_place(event, depth_max=8)):
                for wrong in itertools.islice(itertools.cycle(WRONG), at, at + WRONG_A_PLACE):
                    check(provider, [*before, put(wrong), event])


@settings(max_examples=scaled(600), deadline=None)
@given(st.data())
def test_mutated_recordings(data):
    name = data.draw(st.sampled_from(FILES))
    start = data.draw(st.integers(0, max(0, len(texts_of(name)) - 30)))
    events = events_of(name)[:2] + events_of(name)[start : start + 30] + events_of(name)[-2:]
    for _ in range(data.draw(st.integers(1, 8))):
        event = data.draw(st.sampled_from(events))
        if any(places_of(event)):
            mutate(event, data)
    events = data.draw(st.permutations(events)) if data.draw(st.booleans()) else events
    check(data.draw(st.sampled_from([API_OF[name], "auto"])), events)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_events_of_other_providers(provider):
    for name in FILES:
        check(provider, events_of(name)[:40])


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("name", ["openai-tool-1.sse", "anthropic-code-reasoning-1.sse", "google-code-2.sse"])
def test_nesting_beyond_what_can_be_written(provider, name):
    deep = []
    for _ in range(100_000):
        deep = [deep]
    for event in {shape_of(event): event for event in events_of(name)}.values():
        for put in each_place(event):
            check(provider, [put(deep)])
    with pytest.raises(MalformedChunk):
        make_adapter(provider).feed(deep)


def held(adapter):
    """Return how many things the tables of an adapter hold."""
    return sum(
        len(getattr(adapter, slot))
        for slot in adapter.__slots__
        if isinstance(getattr(adapter, slot), dict | list | set)
    )


@pytest.mark.parametrize(
    ("provider", "make"),
    [
        (
            "openai-chat",
            lambda n: {
                "choices": [{"delta": {"executed_tools": [{"index": n, "type": "search", "arguments": str(n)}]}}]
            },
        ),
        (
            "anthropic-messages",
            lambda n: {
                "type": "content_block_start",
                "index": n,
                "content_block": {"type": "server_tool_use", "id": f"s{n}", "name": "f", "input": {}},
            },
        ),
        (
            "openai-responses",
            lambda n: {
                "type": "response.output_item.added",
                "output_index": n,
                "item": {"type": "tool_search_call", "id": f"t{n}", "arguments": {}},
            },
        ),
        (
            "openai-responses",
            lambda n: {"type": "response.output_text.delta", "output_index": n, "content_index": n, "delta": "x"},
        ),
        (
            "gemini",
            lambda n: {
                "candidates": [
                    {"index": n, "content": {"parts": [{"functionCall": {"name": "f", "willContinue": True}}]}}
                ]
            },
        ),
    ],
)
def test_calls_that_never_end_do_not_pile_up(provider, make):
    adapter = make_adapter(provider)
    for n in range(3000):
        assert adapter.feed(make(n))
    assert held(adapter) <= 3 * 256
