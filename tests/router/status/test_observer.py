"""What happened to requests shows in log lines with their IDs and epochs, and in one span a request."""

from __future__ import annotations

import json
import logging

import pytest

from actors import logging_setup as logs
from actors.settings import StreamSettings, packed
from router.config import RouterConfig
from router.core.effects import CANCELLED, ENDED, MOVED, OPENED, PLACED, REFUSED, Note
from router.core.registry import Registry
from router.status.observer import Observer
from router.status.tracing import Spans

LIFE = [
    Note(OPENED, "req-1", 0, None),
    Note(PLACED, "req-1", 1, "s1"),
    Note(MOVED, "req-1", 1, "s1"),
    Note(PLACED, "req-1", 2, "s2"),
    Note(CANCELLED, "req-1", 2, "enough"),
    Note(ENDED, "req-1", 2, "cancelled"),
]


@pytest.fixture
def written(capsys):
    """Return what the loggers have written; puts the loggers back afterwards."""
    before = {name: (logging.getLogger(name).handlers, logging.getLogger(name).level) for name in logs.LOGGERS}
    yield lambda: capsys.readouterr().err
    for name, (handlers, level) in before.items():
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = handlers, True
        logger.setLevel(level)


def test_json_lines_bear_request_id_and_epoch(written):
    logs.set_up("info", "json")
    Observer(RouterConfig(name="mine"), 3).take([*LIFE, Note(REFUSED, "req-2", 0, "pool_full")])
    lines = [json.loads(line) for line in written().splitlines()]
    assert [(line["event"], line["request_id"], line["epoch"], line["level"]) for line in lines] == [
        ("opened", "req-1", 0, "info"),
        ("moved", "req-1", 1, "warning"),
        ("cancelled", "req-1", 2, "info"),
        ("ended", "req-1", 2, "info"),
        ("refused", "req-2", 0, "info"),
    ]
    assert all((line["router"], line["shard"]) == ("mine", 3) for line in lines)
    assert "pool_full" in lines[-1]["message"]


TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_lines_of_a_request_bear_the_trace_that_it_was_published_in(written):
    logs.set_up("info", "json")
    Observer(RouterConfig(), 0).take([Note(OPENED, "req-1", 0, None, TRACEPARENT), Note(OPENED, "req-2", 0, None)])
    first, second = [json.loads(line) for line in written().splitlines()]
    assert (first["trace_id"], first["span_id"]) == tuple(TRACEPARENT.split("-")[1:3])
    assert "trace_id" not in second


def test_the_default_level_says_nothing_of_requests_that_go_well(written):
    logs.set_up("warning", "text")
    Observer(RouterConfig(), 0).take([note for note in LIFE if note.kind != MOVED])
    assert written() == ""


def test_a_lost_request_is_an_error_line(written):
    logs.set_up("error", "text")
    Observer(RouterConfig(), 0).take([Note(ENDED, "req-9", 4, "lost")])
    assert "ERROR router.observer: request req-9, epoch 4: ended (lost)" in written()


def test_an_exception_stays_on_one_json_line(written):
    logs.set_up("info", "json")
    try:
        int("of\ntwo lines")
    except ValueError:
        logging.getLogger("router.x").exception("it failed")
    (line,) = written().splitlines()
    assert "ValueError: invalid literal" in json.loads(line)["exception"]


def test_the_registry_notes_a_life():
    registry = Registry(RouterConfig.model_validate({"stream_actors": {"max_actors": 1, "warm_actors": 0}}), "me", 0.0)
    settings = b"\x80"
    assert registry.open("client", "req-1", settings, 1.0, date="") is None
    registry.actor_started("s1", 1, "node", 1.5)
    assert registry.open("client", "req-1\n", settings, 1.0, date="") is not None
    registry.cancel("req-1", 2.0, detail="enough")
    notes = registry.take_effects().notes
    assert [(note.kind, note.request_id) for note in notes] == [
        (OPENED, "req-1"), (PLACED, "req-1"), (REFUSED, "req-1\n"), (CANCELLED, "req-1")
    ]  # fmt: skip
    assert registry.refused_by == {"invalid_request_id": 1}


# --- spans --------------------------------------------------------------------------------------


def _provider():
    """What a configuration's `tracing.setup` names: here, spans go into memory."""
    trace = pytest.importorskip("opentelemetry.sdk.trace", reason="spans need the extra 'otel'")
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter").InMemorySpanExporter()
    provider = trace.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(memory))
    provider.memory = memory
    return provider


def test_one_span_a_request_with_its_events():
    provider = _provider()
    spans = Spans(provider, "mine", 3)
    spans.take(LIFE)
    (span,) = provider.memory.get_finished_spans()
    assert span.name == "request"
    assert dict(span.attributes) == {"request_id": "req-1", "router": "mine", "shard": 3, "stop_reason": "cancelled"}
    assert [(event.name, event.attributes["epoch"]) for event in span.events] == [
        ("placed", 1), ("moved", 1), ("placed", 2), ("cancelled", 2)
    ]  # fmt: skip
    assert not spans._open


def test_the_span_is_a_child_of_the_publishers():
    provider = _provider()
    Spans(provider, "mine", 0).take([Note(OPENED, "a", 0, None, TRACEPARENT), Note(ENDED, "a", 1, "end_turn")])
    (span,) = provider.memory.get_finished_spans()
    assert f"{span.context.trace_id:032x}" == TRACEPARENT.split("-")[1]
    assert f"{span.parent.span_id:016x}" == TRACEPARENT.split("-")[2]


def test_the_registry_notes_the_trace_that_a_request_came_with():
    registry = Registry(RouterConfig.model_validate({"stream_actors": {"warm_actors": 0}}), "me", 0.0)
    registry.open("client", "req-1", packed(StreamSettings(traceparent=TRACEPARENT)), 1.0, date="")
    registry.cancel("req-1", 2.0)
    assert {note.traceparent for note in registry.take_effects().notes} == {TRACEPARENT}


@pytest.mark.parametrize(
    ("reason", "is_error"), [("end_turn", False), ("tool_call", False), ("lost", True), ("timeout_stall", True)]
)
def test_a_request_that_went_wrong_is_a_span_that_failed(reason, is_error):
    provider = _provider()
    Spans(provider, "mine", 0).take([Note(OPENED, "a", 0, None), Note(ENDED, "a", 1, reason)])
    (span,) = provider.memory.get_finished_spans()
    assert (span.status.status_code.name == "ERROR") is is_error


def test_requests_of_an_earlier_incarnation_have_no_span():
    provider = _provider()
    Spans(provider, "mine", 0).take([Note(MOVED, "old", 3, "s1"), Note(ENDED, "old", 4, "end_turn")])
    assert not provider.memory.get_finished_spans()


def test_a_setup_that_fails_is_logged_and_the_router_runs(caplog):
    for setup in ("nonesuch:function", "json:nonesuch", "json:dumps"):
        config = RouterConfig.model_validate({"tracing": {"setup": setup}})
        observer = Observer(config, 0)
        observer.take(LIFE)
        observer.close()
    assert caplog.text.count("there will be no spans") == 3


def test_setup_names_a_function_that_returns_a_provider():
    pytest.importorskip("opentelemetry.sdk.trace")
    spans = Spans.set_up("opentelemetry.sdk.trace:TracerProvider", "mine", 0)
    assert spans is not None
    spans.take(LIFE)
    spans.close()
