"""Metrics: totals become counters without loss or double counting, tags stay bounded, a real endpoint shows them."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from actors.protocol import frames as wire
from actors.protocol.envelopes import Order
from actors.settings import StreamSettings
from actors.stream import measures
from actors.stream.host import StreamHost
from actors.stream.measures import FIRST_MESSAGE_BOUNDS_S, Histogram
from actors.stream.used import Used
from router.config import MetricsConfig, PriceConfig, RouterConfig
from router.core.registry import Registry
from router.status.metrics import (
    METRICS,
    Exporter,
    Metric,
    Sample,
    of_all_stream_actors,
    of_registry,
    of_stream_actor,
    of_transports,
)
from router.status.observer import Observer
from router.status.spending import Spending
from tests.actors.stream.host_driver import DATE, Driver, text

SCRAPED = Path(__file__).parents[1] / "service" / "scraped.py"
NOTHING = {
    "credit_waits": 0,
    "unknown": {"event": 1},
    "providers": {},
    "usage": [["gpt-9", "ada", 10, 4, 3]],
    "readers": 0,
    "bytes_held": 0,
    "unread_bytes": 0,
    "lag_max": 0,
}


class Book:
    """Keeps what was handed over, as Prometheus would."""

    def __init__(self):
        self.values = Counter()
        self.observed = []
        self.tags = {}

    def make(self, metric: Metric) -> Page:
        return Page(self, metric)


class Page:
    def __init__(self, book: Book, metric: Metric):
        self.book = book
        self.metric = metric

    def _key(self, tags):
        assert set(tags) == set(self.metric.tag_keys)
        assert all(isinstance(value, str) for value in tags.values())
        return (self.metric.name, *(tags[key] for key in self.metric.tags))

    def inc(self, value, tags):
        assert self.metric.kind == "counter"
        assert value > 0
        self.book.values[self._key(tags)] += value

    def set(self, value, tags):
        assert self.metric.kind == "gauge"
        self.book.values[self._key(tags)] = value

    def observe(self, value, tags):
        assert self.metric.kind == "histogram"
        self.book.observed.append((*self._key(tags), value))


@pytest.fixture
def book():
    return Book()


@pytest.fixture
def exporter(book):
    return Exporter("agents", 0, book.make)


def test_a_total_looked_at_twice_counts_once(book, exporter):
    for total in (3, 3, 10, 10):
        exporter.take([Sample("opens", total)])
    assert book.values["stream_router_opens",] == 10


def test_totals_of_several_sources_add_up_and_one_that_went_takes_nothing_away(book, exporter):
    exporter.take([Sample("credit_waits", 5)], "s1")
    exporter.take([Sample("credit_waits", 7)], "s2")
    exporter.forget_all_but({"s2"})
    exporter.take([Sample("credit_waits", 8)], "s2")
    exporter.take([Sample("credit_waits", 1)], "s3")
    assert book.values["stream_router_credit_waits",] == 14


def test_what_an_earlier_incarnation_of_the_router_handed_over_is_not_counted_again(book, exporter):
    exporter.take([Sample("credit_waits", 100)], "s1", only_note=True)
    exporter.take([Sample("credit_waits", 103)], "s1")
    assert book.values["stream_router_credit_waits",] == 3


def test_a_histogram_keeps_every_value_in_its_bucket(book, exporter):
    histogram = Histogram(FIRST_MESSAGE_BOUNDS_S)
    values = [0.01, 0.05, 0.051, 0.9, 3.0, 3.5, 1000.0]
    for value in values[:3]:
        histogram.observe(value)
    exporter.take([Sample("first_message_seconds", histogram.totals(), {"provider": "gemini"})], "s1")
    for value in values[3:]:
        histogram.observe(value)
    for _ in range(2):
        exporter.take([Sample("first_message_seconds", histogram.totals(), {"provider": "gemini"})], "s1")
    seen = Histogram(FIRST_MESSAGE_BOUNDS_S)
    for name, provider, value in book.observed:
        assert (name, provider) == ("stream_router_first_message_seconds", "gemini")
        seen.observe(value)
    assert seen.counts == histogram.counts
    assert sum(seen.sums) == pytest.approx(sum(values))


def test_reasons_that_publishers_make_up_share_one_tag():
    registry = Registry(RouterConfig(), "me", 0.0)
    registry.ended_by = {"end_turn": 2, "because": 3, "so there": 4}
    registry.refused_by = {"pool_full": 1}
    samples = {(s.name, s.tags.get("reason")): s.value for s in of_registry(registry) if "reason" in s.tags}
    assert samples == {("terminals", "end_turn"): 2, ("terminals", "other"): 7, ("refused", "pool_full"): 1}


def test_every_metric_is_fed_and_every_sample_has_its_tags():
    registry = Registry(RouterConfig(), "me", 0.0)
    registry.ended_by = {"end_turn": 1}
    registry.refused_by = {"draining": 1}
    assert registry.pool.add().actor_id == "s1"
    look = {**NOTHING, "providers": {"gemini": [1, 2, 3, Histogram(FIRST_MESSAGE_BOUNDS_S).totals()]}}
    book = Book()
    config = RouterConfig(metrics=MetricsConfig(prices={"gpt-*": PriceConfig(input=1, output=2)}))
    observer = Observer(config, 0)
    observer._exporter.make = book.make
    observer.delivered(0.1)
    observer.actor_lost()
    samples = [*of_registry(registry), *of_stream_actor(look), *of_all_stream_actors([look]), *of_transports(["ray"])]
    samples += Spending(config.metrics).samples(look)
    assert {s.name for s in samples} | {"restarts", "delivery_seconds"} == set(METRICS)
    for sample in samples:
        assert set(sample.tags) == set(METRICS[sample.name].tags)
    observer.export(registry, {"s1": look})
    observer.export(registry, {"s1": look})
    assert book.values["stream_router_restarts", "stream_actor"] == 1
    assert book.values["stream_router_messages", "gemini"] == 3
    assert len([o for o in book.observed if o[0] == "stream_router_delivery_seconds"]) == 1


def test_no_metric_has_a_tag_without_bounds():
    # Of models and agents there are as many as the configuration allows; see below.
    allowed = {"router", "shard", "reason", "provider", "state", "kind", "transport", "model", "agent"}
    assert all(set(metric.tag_keys) <= allowed for metric in METRICS.values())


def test_a_stream_actor_counts_by_provider_and_says_who_lags():
    host = StreamHost()
    settings = wire.pack(StreamSettings(dialect="chat", buffer_bytes_max=2000).model_dump(mode="json"))
    chunk = b'{"choices":[{"index":0,"delta":{"content":"0123456789"}}]}'
    for name, count in (("quick", 1), ("slow", 60)):
        host.handle([(Order.OPEN, name, 1, settings, "me", "1970-01-01T00:00:00+00:00", 0.0, 0, 1, 0, [])], 10.0)
        host.handle([(Order.DATA, name, 1, 1, wire.pack([chunk] * count))], 10.2)
    look = measures.look(host.measures, host.sessions.values(), len(host.audience), laggards=1)
    assert look["open"] == 2
    assert look["credit_waits"] == 1
    assert [row[:4] for row in look["laggards"]] == [["slow", 1, 60, 60]]
    assert look["lag_max"] == 60
    chunks, chunk_bytes, messages, (counts, sums) = look["providers"]["openai-chat"]
    assert (chunks, chunk_bytes, messages) == (61, 61 * len(chunk), 61)
    assert sum(counts) == 2
    assert sum(sums) == pytest.approx(0.4)


def test_what_was_not_understood_counts_by_kind_and_never_by_its_own_words():
    names = {
        "event response.odd": 2,
        "delta.tool_calls of type int": 1,
        "finish reason xyzzy": 3,
        "\U0001f600 secret": 4,
    }
    look = measures.look(measures.Measures(), [], 0, unknown_events=names)
    assert look["unknown"] == {"event": 2, "delta": 1, "finish": 3, "other": 4}
    tags = [sample.tags["kind"] for sample in of_stream_actor(look) if sample.name == "unknown_events"]
    assert set(tags) <= {*measures.UNKNOWN_KINDS, "other"}


def test_a_replay_after_a_crash_is_no_new_first_message():
    host = StreamHost()
    settings = wire.pack(StreamSettings(dialect="chat").model_dump(mode="json"))
    host.handle([(Order.OPEN, "moved", 2, settings, "me", "1970-01-01T00:00:00+00:00", 5.0, 0, 1, 0, [])], 10.0)
    host.handle([(Order.DATA, "moved", 2, 1, wire.pack([b'{"choices":[{"delta":{"content":"a"}}]}']))], 10.2)
    of = host.measures.by_provider["openai-chat"]
    assert of.messages == 1
    assert sum(of.first_message_s.counts) == 0


@pytest.mark.ray
@pytest.mark.timeout(330)
@pytest.mark.skipif(
    not all(importlib.util.find_spec(module) for module in ("opencensus", "aiohttp_cors", "prometheus_client")),
    reason="Ray's metrics agent needs the extra 'metrics' (ray[default])",
)
def test_a_real_prometheus_endpoint_shows_the_metrics(tmp_path):
    page = tmp_path / "page.txt"
    for _ in range(2):
        ran = subprocess.run(
            [sys.executable, str(SCRAPED), str(page)],
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
            env={**os.environ, "PYTHONPATH": str(SCRAPED.parents[3])},
        )
        if "timed out during startup" not in ran.stderr:
            break  # Ray gives a node 30 s to come up, which a busy machine may need
    assert ran.returncode == 0, ran.stderr[-2000:]
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415  # with the extra only

    found = {}
    for family in text_string_to_metric_families(page.read_text(encoding="utf-8")):
        for sample in family.samples:
            if "stream_router_" in sample.name:
                tags = tuple(sorted((k, v) for k, v in sample.labels.items() if k in {"reason", "provider", "state"}))
                if sample.labels.get("le") in (None, "+Inf"):
                    found[sample.name, tags] = sample.value
                assert sample.labels["router"] == "scraped"
                assert not re.search("req-", str(sample.labels))

    def value(name, **tags):
        return found[METRICS[name].prometheus_name, tuple(sorted(tags.items()))]

    assert value("opens") == 8
    assert value("terminals", reason="end_turn") == 5
    assert value("terminals", reason="cancelled") == 1
    assert value("terminals", reason="other") == 1
    assert value("refused", reason="request_ended") == 1
    assert value("requests", state="open") == 1
    assert value("messages", provider="openai-chat") >= 5 * 10
    assert value("chunk_bytes", provider="openai-chat") > 5000
    assert found["ray_stream_router_first_message_seconds_count", (("provider", "openai-chat"),)] >= 5
    assert found["ray_stream_router_delivery_seconds_count", ()] > 0


# --- usage and cost ------------------------------------------------------------------------------


def totals(look: dict, **config: object) -> dict[tuple, float]:
    spending = Spending(MetricsConfig.model_validate(config))
    return {(sample.name, *sample.tags.values()): sample.value for sample in spending.samples(look)}


def used(*rows: tuple) -> dict:
    return {"usage": [list(row) for row in rows]}


def test_tokens_are_counted_by_model_and_by_agent_and_cost_by_the_price_that_fits():
    prices = {"gpt-9-mini*": {"input": 1, "output": 2}, "gpt-9*": {"input": 10, "cached_input": 1, "output": 40}}
    found = totals(
        used(("gpt-9-2026", "ada", 1_000_000, 400_000, 100_000), ("gpt-9-mini", None, 1_000_000, 400_000, 0)),
        prices=prices,
    )
    assert found["tokens", "gpt-9-2026", "input"] == 600_000
    assert found["tokens", "gpt-9-2026", "cached_input"] == 400_000
    assert found["agent_tokens", "ada", "output"] == 100_000
    assert found["cost_dollars", "ada"] == pytest.approx(6 + 0.4 + 4)
    assert found["cost_dollars", "none"] == pytest.approx(1.0), "cached input costs what input costs"


def test_without_a_price_there_are_tokens_and_no_cost():
    found = totals(used(("unheard-of", "ada", 10, 0, 1)))
    assert found["agent_tokens", "ada", "input"] == 10
    assert not [key for key in found if key[0] == "cost_dollars"]


def test_agents_and_models_without_end_share_one_series_and_lose_no_token():
    rows = [(f"model-{n}", f"agent-{n}", 1, 0, 1) for n in range(100)]
    found = totals(used(*rows), agents_max=3, models_max=2)
    assert len({key[1] for key in found if key[0] == "agent_tokens"}) == 4
    assert len({key[1] for key in found if key[0] == "tokens"}) == 3
    assert sum(value for key, value in found.items() if key[0] == "agent_tokens") == 200
    assert sum(value for key, value in found.items() if key[0] == "tokens") == 200


def test_agents_are_counted_by_patterns_where_there_are_some():
    rows = [("m", f"support-{n}", 1, 0, 0) for n in range(9)] + [("m", "ada", 1, 0, 0)]
    found = totals(used(*rows), agents=["support-*"])
    assert found["agent_tokens", "support-*", "input"] == 9
    assert found["agent_tokens", "other", "input"] == 1


def test_a_name_keeps_its_series_and_the_exporter_hands_over_each_token_once():
    book = Book()
    spending, exporter = Spending(MetricsConfig(agents_max=1)), Exporter("mine", 0, book.make)
    exporter.take(spending.samples(used(("m", "ada", 1, 0, 0))), "s1")
    exporter.take(spending.samples(used(("m", "ada", 3, 0, 0), ("m", "bob", 5, 0, 0))), "s1")
    exporter.take(spending.samples(used(("m", "bob", 7, 0, 0))), "s2")
    assert book.values["stream_router_agent_tokens", "ada", "input"] == 3
    assert book.values["stream_router_agent_tokens", "other", "input"] == 12


def test_a_stream_actor_counts_an_ended_request_once_whatever_is_said_of_it_again():
    driver = Driver()
    driver.send((Order.OPEN, "req-1", 1, b"\x80", "client", DATE, 0.0, 0, 1, 0, ["ada", 1]))
    driver._next_seq["req-1"] = 1
    usage = {"prompt_tokens": 30, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 9}}
    driver.say("req-1", text("Hello"), json.dumps({"model": "gpt-9", "choices": [], "usage": usage}).encode())
    driver.end("req-1")
    driver.send((Order.END, "req-1", 1, "cancelled", None, 0))
    assert driver.host.measures.usage() == [["gpt-9", "ada", 30, 9, 7]]


def test_an_actor_counts_no_more_models_and_agents_apart_than_its_bound():
    counted = measures.Measures()
    for number in range(measures.USAGE_KEYS_MAX + 50):
        counted.count_usage(Used("m", f"agent-{number}", 2, 1, 1))
    rows = counted.usage()
    assert len(rows) == measures.USAGE_KEYS_MAX + 1
    assert ["other", "other", 100, 50, 50] in rows
