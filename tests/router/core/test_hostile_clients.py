"""What a client sends a router and the protocol does not allow: refused by name, counted, harmless to others."""

from __future__ import annotations

import random

import pytest

from actors.errors import DuplicateRequest, ProtocolViolation
from actors.protocol import frames as wire
from actors.protocol.calls import Registration
from actors.protocol.envelopes import Order
from actors.protocol.frames import checked
from actors.protocol.states import Report, Role, SessionPhase
from actors.settings import StreamSettings, packed
from router.config import RouterConfig
from router.core.registry import Registry

SETTINGS = packed(StreamSettings())
DATE = "2026-01-02T03:04:05+00:00"
ITEMS = wire.pack([b"{}"])
NEW = ("new", SETTINGS, DATE, None, False, 0, 0, 1, None, 0)


def a_registry() -> Registry:
    registry = Registry(RouterConfig.model_validate({"stream_actors": {"max_actors": 1}}), "incarnation", 0.0)
    assert registry.open("owner", "mine", SETTINGS, 0.0, date=DATE) is None
    registry.actor_started("s1", 1, "node", 0.0)
    registry.take_effects()
    return registry


def check_unharmed(registry: Registry) -> None:
    """The owner's next item is taken and goes to its actor."""
    entry = registry.requests["mine"]
    registry.forward("owner", [["mine", entry.epoch, entry.sent_seq + 1, 1, ITEMS]], 0.0)
    (sent,) = [envelope for _, request_id, envelope, _ in registry.take_effects().send if request_id == "mine"]
    assert sent[0] == Order.DATA


@pytest.fixture
def registry():
    registry = a_registry()
    yield registry
    check_unharmed(registry)


def state(registry: Registry, client_id: str, request_id: str) -> list:
    _, _, states = registry.news(client_id, ("", 0), 0.0)
    return next(state for state in states if state[:2] == (Role.PUBLISHER, request_id))


@pytest.mark.parametrize(
    "envelope",
    [[], ["mine"], 7, None, ["mine", 1, "1", 1, ITEMS], ["mine", 1, 1, 0, ITEMS], ["mine", 1, 1, -5, ITEMS],
     ["mine", 1, 0, 1, ITEMS], ["mine", 1, 1, 1, "text"], [["mine"], 1, 1, 1, ITEMS], ["mine", 1, 1, None, ITEMS]],
)  # fmt: skip
def test_an_envelope_of_another_shape_is_refused_and_its_neighbours_are_taken(registry, envelope):
    registry.forward("owner", [envelope, ["mine", 1, 1, 1, ITEMS], envelope, ["mine", 1, 2, 1, ITEMS]], 0.0)
    assert registry.refused_by == {"protocol_violation": 2}
    assert registry.requests["mine"].sent_seq == registry.counts["chunks"] == 2
    registry.take_effects()


def test_nobody_else_can_write_into_a_request(registry):
    registry.forward("stranger", [["mine", 1, 1, 1, ITEMS]], 0.0)
    assert registry.ignored_by == {"not_its_publisher": 1}
    assert not registry.take_effects().send
    assert state(registry, "stranger", "mine")[3] == "unknown"


def test_nobody_else_can_take_over_a_request_whose_publisher_lives(registry):
    error = registry.open("stranger", "mine", SETTINGS, 1.0, date=DATE, take_over=True)
    assert isinstance(error, DuplicateRequest)
    # Nor by pretending to be its publisher, come back after a crash.
    error = registry.open("stranger", "mine", SETTINGS, 1.0, date=DATE, epoch=7, sent_seq=99)
    assert isinstance(error, DuplicateRequest)
    assert registry.requests["mine"].client_id == "owner"


def test_nobody_else_can_disown_a_request(registry):
    registry.disown("stranger", "mine", 0.0)
    assert registry.requests["mine"].is_live


def test_a_foreign_epoch_is_ignored_counted_and_answered_with_the_right_one(registry):
    for epoch in (0, 2, 1_000_000):
        registry.forward("owner", [["mine", epoch, 1, 1, ITEMS]], 0.0)
    assert registry.ignored_by == {"other_epoch": 3}
    assert not registry.take_effects().send
    assert state(registry, "owner", "mine")[2] == 1


def test_items_from_the_future_are_not_passed_on_and_the_wanted_number_is_said(registry):
    registry.forward("owner", [["mine", 1, 1, 1, ITEMS], ["mine", 1, 50, 1, ITEMS]], 0.0)
    assert registry.ignored_by == {"ahead": 1}
    assert len(registry.take_effects().send) == 1
    assert state(registry, "owner", "mine")[3:5] == ("gap", 2)


@pytest.mark.parametrize(
    ("at", "wrong"),
    [(0, 7), (0, None), (1, "settings"), (2, 5), (3, 5), (4, "yes"), (5, "1"), (6, None), (7, b""), (8, 3), (9, "1")],
)
def test_a_registration_with_a_wrong_part_is_refused_by_name(at, wrong):
    with pytest.raises(ProtocolViolation):
        checked(Registration, [wrong if place == at else part for place, part in enumerate(NEW)])


@pytest.mark.parametrize("parts", [[], [*NEW, 1], NEW[:-1], 7, "text", {"request_id": "x"}, None])
def test_a_registration_of_another_shape_is_refused_by_name(parts):
    with pytest.raises(ProtocolViolation):
        checked(Registration, parts)


@pytest.mark.parametrize("settings", [b"", b"\xc1", wire.pack(7), wire.pack({"no_such_setting": 1})])
def test_settings_that_cannot_be_read_are_refused_and_nothing_is_opened(registry, settings):
    error = registry.open("owner", "other", settings, 0.0, date=DATE)
    assert isinstance(error, ProtocolViolation)
    assert "other" not in registry.requests
    assert registry.refused_by == {"protocol_violation": 1}
    registry.take_effects()


@pytest.mark.parametrize(
    "parts", [[], ["mine"], 7, ["mine", 1, 0, 1, 0, 0, "credit", None, None, 0], [["mine"], *[0] * 9]]
)
def test_a_report_of_another_shape_is_refused_and_those_beside_it_are_taken(registry, parts):
    actor_id = registry.requests["mine"].actor_id
    registry.reports(actor_id, [parts, list(Report("mine", 1, 0, credit_bytes=123))], 0.0)
    assert registry.refused_by == {"protocol_violation": 1}
    assert registry.requests["mine"].credit_bytes == 123
    registry.take_effects()


def test_an_actor_cannot_report_on_a_request_that_lives_on_another(registry):
    registry.reports("impostor", [list(Report("mine", 1, SessionPhase.SEALED, stop_reason="end_turn", log=b""))], 0.0)
    assert registry.requests["mine"].is_live
    registry.take_effects()


@pytest.mark.parametrize("seed", range(20))
def test_random_words_of_a_stranger_set_off_nothing_unnamed(seed):
    """No exception leaves the registry, and the owner's request goes on."""
    random_ = random.Random(seed)
    words = [0, 1, -1, 1 << 70, "", "mine", "other", b"", ITEMS, None, True, 1.5, [], ["mine"], {}]
    registry = a_registry()
    for _ in range(300):
        envelope = [random_.choice(words) for _ in range(random_.choice([5, 5, 5, 4, 6]))]
        registry.forward("stranger", [envelope], 0.0)
        registry.reports("impostor", [[random_.choice(words) for _ in range(10)]], 0.0)
        registry.locate("stranger", 1, ["other"], ["mine"], 0.0)
        registry.news("stranger", (random_.choice(["", "incarnation"]), random_.randint(-5, 5)), 0.0)
    registry.take_effects()
    check_unharmed(registry)
