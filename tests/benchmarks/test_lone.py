"""A chunk that travels alone wakes each party up once, and each of them sends once."""

from __future__ import annotations

import json

import pytest

from benchmarks import lone
from benchmarks.gateway_parties import CLIENTS, GatewayParties
from benchmarks.parties import PUBLISHER, READER, ROUTER, STREAM_ACTOR, Parties


def test_a_chunk_that_travels_alone_wakes_each_party_once_and_each_sends_once(monkeypatch):
    monkeypatch.setattr(lone, "WARM_UP", 4)
    monkeypatch.setattr(lone, "COUNTED", 20)
    spent = lone.measure(Parties(streams=2), chunks=20, pace=250.0, cold_mb=1)
    sends = {name: of.counts["sends"] for name, of in spent.items()}
    # Beside the chunks there are answers and acknowledgements, some ten a second.
    assert sends == pytest.approx({PUBLISHER: 1, ROUTER: 1, STREAM_ACTOR: 1, READER: 0}, abs=0.9)
    # The program's own turn, and the one in which leaves what it has said; a reader's task wakes in a turn of its own.
    # On a busy machine timers fall between chunks that they would otherwise have ridden with: that adds turns.
    turns = {name: of.turns for name, of in spent.items()}
    assert turns == pytest.approx({PUBLISHER: 2, ROUTER: 1, STREAM_ACTOR: 1, READER: 2}, abs=0.9)
    assert lone.table(spent).count("\n") == 1 + len(spent) + 1
    assert {name: of["counts"]["sends"] for name, of in json.loads(lone.as_json(spent)).items()} == sends


def test_a_gateway_sends_a_message_that_comes_alone_in_the_turn_in_which_it_reads_it(monkeypatch):
    monkeypatch.setattr(lone, "WARM_UP", 4)
    monkeypatch.setattr(lone, "COUNTED", 20)
    spent = lone.measure(GatewayParties(streams=2), chunks=20, pace=250.0, cold_mb=0)
    counted = {name: (of.turns, of.counts["sends"], of.counts["receives"]) for name, of in spent.items()}
    # As above; a turn more would be a round that one message waits for.
    assert counted[READER] == pytest.approx((1, 1, 1), abs=0.9)
    assert counted[CLIENTS] == pytest.approx((1, 0, 1), abs=0.2)
