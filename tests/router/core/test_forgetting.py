"""An ended request that is forgotten before its time is gone for good, whoever dies meanwhile; and no other one is."""

from __future__ import annotations

from typing import Any

import pytest
from registry_driver import HERE, LOG, THERE, Router, adopt, held, restarted

from actors.errors import Recovering, RequestOpen, UnknownRequest
from actors.protocol.envelopes import Envelope, Order
from actors.protocol.states import Report, RequestPhase, SessionPhase
from router.core.effects import FORGOTTEN
from router.core.outboxes import CLIENT_TIMEOUT_S


class Forgetful(Router):
    """A router whose requests are forgotten, and what it says to stream actors meanwhile."""

    def __init__(self, *nodes: str, **pool: Any) -> None:
        super().__init__(*nodes, **pool)
        self.orders: dict[str, list[Envelope]] = {}

    def ended(self, request_id: str = "req") -> int:
        """Let a request begin and end, with a copy where it can have one; return its number."""
        self.open(request_id)
        self.seals(request_id)
        copy_id = self.request(request_id).copy_id
        if copy_id is not None:
            self.says(copy_id, request_id, SessionPhase.COPY, stop_reason="end_turn")
        self.publisher_hears(request_id)
        self.registry.take_effects()
        return self.request(request_id).created

    def forgets(self, request_id: str = "req", number: int | None = None, now: float = 1.0) -> None:
        number = self.registry.number_of_ended(request_id, now) if number is None else number
        self.registry.forgetting.forget(request_id, number, now)
        self.registry.validate()
        for actor_id, _, envelope, _ in self.registry.take_effects().send:
            self.orders.setdefault(actor_id, []).append(envelope)

    def takes(self, actor_id: str) -> None:
        """A stream actor takes all that it was sent."""
        self.registry.delivered(actor_id, self.orders.pop(actor_id, []))

    @property
    def is_under_way(self) -> bool:
        return self.registry.forgetting.is_under_way("req")

    def notes(self) -> list[str]:
        return [note.kind for note in self.registry.take_effects().notes]


@pytest.fixture
def router() -> Forgetful:
    return Forgetful(HERE, THERE)


def test_all_who_hold_it_are_told_to_drop_it_and_nobody_knows_it_any_more(router):
    router.ended()
    router.registry.locate("reader", 1, ["req"], [], 1.0)
    router.forgets()
    for actor_id in ("s1", "s2"):
        assert (Order.FORGET, "req", 1) in router.orders[actor_id]
    assert len(router.registry.requests) == 0
    assert router.registry.requests.kept_bytes == 0
    with pytest.raises(UnknownRequest):
        router.registry.known("req")
    assert router.registry.locate("reader", 2, ["req"], [], 1.0).states[0].phase == RequestPhase.UNKNOWN


def test_whoever_reads_it_hears_that_it_is_gone(router):
    router.ended()
    seen = router.registry.locate("reader", 1, ["req"], [], 1.0)
    router.forgets()
    news = router.registry.news("reader", (seen.incarnation, seen.version), 1.0)
    assert [(state.request_id, state.phase) for state in news.states] == [("req", RequestPhase.UNKNOWN)]


def test_it_is_forgotten_when_all_have_taken_the_order_and_not_before(router):
    router.ended()
    router.forgets()
    router.takes("s1")
    assert router.is_under_way
    router.takes("s2")
    assert not router.is_under_way
    assert router.notes() == [FORGOTTEN]


def test_an_order_of_an_earlier_time_is_not_taken_for_this_one(router):
    router.ended()
    router.registry.lifecycle.dispatch.forget_session("s2", "req", 1)
    (earlier,) = router.sent_to("s2")
    router.forgets()
    router.takes("s1")
    router.registry.delivered("s2", [earlier])
    assert router.is_under_way


@pytest.mark.parametrize("how", ["dies", "is stopped"])
def test_an_actor_that_is_gone_is_not_waited_for(router, how):
    router.ended()
    router.forgets()
    router.takes("s1")
    if how == "dies":
        router.dies("s2")
    else:
        router.registry.pool.remove("s2")
        router.registry.keep_house(2.0)
    assert not router.is_under_way


def test_an_actor_that_is_still_starting_is_not_waited_for(router):
    router.ended()
    router.registry.pool.add()
    router.forgets()
    assert sorted(router.orders) == ["s1", "s2"]


def test_one_that_only_the_router_itself_holds_is_forgotten_at_once():
    router = Forgetful(HERE)
    router.ended()
    router.dies("s1")
    router.forgets()
    assert not router.is_under_way
    assert not router.registry.requests


def test_one_that_has_not_ended_is_refused_and_goes_on(router):
    router.open("req")
    with pytest.raises(RequestOpen, match="'req' has not ended; cancel it first"):
        router.forgets()
    with pytest.raises(RequestOpen):
        router.forgets(number=router.request("req").created)
    router.sends("req", 1)
    assert router.request("req").phase == RequestPhase.OPEN


def test_one_that_never_was_is_unknown(router):
    with pytest.raises(UnknownRequest):
        router.forgets("nobody")


def test_a_call_that_comes_again_does_no_harm(router):
    number = router.ended()
    router.forgets()
    router.forgets(number=number)
    assert not router.registry.requests


def test_a_call_that_comes_late_leaves_the_next_one_of_the_same_id_alone(router):
    number = router.ended()
    router.forgets()
    assert router.ended() > number
    router.forgets(number=number)
    assert "req" in router.registry.requests
    assert not router.sent(Order.FORGET)


def test_its_id_can_be_published_anew_behind_the_orders_to_drop_it(router):
    router.ended()
    router.forgets()
    actor_id = router.open("req")
    orders = [envelope[0] for envelope in [*router.orders[actor_id], *router.sent_to(actor_id)]]
    assert orders[-1] == Order.OPEN
    assert set(orders[:-1]) == {Order.FORGET}


def test_a_publisher_that_registers_it_again_is_told_that_it_has_ended(router):
    router.ended()
    router.forgets()
    error = router.opens("req", 2.0, epoch=1, sent_seq=1)
    assert error is not None
    assert (error.code, "was forgotten" in str(error)) == ("request_ended", True)
    assert not router.registry.requests


# --- while its end is being told ----------------------------------------------------------------------


def test_its_publisher_hears_of_its_end_first(router):
    router.open("req")
    router.seals("req")
    router.says("s2", "req", SessionPhase.COPY, stop_reason="end_turn")
    with pytest.raises(Recovering, match="is just being told"):
        router.forgets()
    assert router.publisher_hears("req") == RequestPhase.SEALED
    router.forgets()


def test_a_publisher_that_says_nothing_more_is_not_waited_for(router):
    router.open("req")
    router.seals("req")
    router.says("s2", "req", SessionPhase.COPY, stop_reason="end_turn")
    router.forgets(now=CLIENT_TIMEOUT_S)


def test_an_end_that_is_not_shown_yet_is_waited_for(router):
    router.open("req")
    router.seals("req")
    assert not router.request("req").is_shown
    with pytest.raises(Recovering):
        router.forgets(now=CLIENT_TIMEOUT_S)


# --- after a restart ----------------------------------------------------------------------------------


def test_a_router_that_has_restarted_forgets_what_was_left_of_it():
    """The router died when one actor had taken the order and the other, with the copy, had not."""
    router = restarted(s1=[], s2=[held("req", SessionPhase.COPY)])
    router.registry.wait_for_publishers(0.0)
    number = router.registry.number_of_ended("req", 1.0)
    router.registry.forgetting.forget("req", number, 1.0)
    assert set(router.sent(Order.FORGET)) == {("s1", "req"), ("s2", "req")}
    assert "req" not in router.registry.requests


def test_while_actors_are_asked_nothing_is_forgotten_for_one_of_them_may_hold_it():
    router = Router()
    router.registry.wait_for_publishers(0.0)
    router.registry.expect(["s1", "s2"])
    adopt(router, "s1", [held("req", SessionPhase.SEALED)])
    router.registry.settle(["s1"], 0.0)
    with pytest.raises(Recovering):
        router.registry.number_of_ended("req", 1.0)
    with pytest.raises(Recovering):
        router.registry.forgetting.forget("req", router.request("req").created, 1.0)
    assert "req" in router.registry.requests


def test_a_report_that_comes_late_does_not_bring_it_back(router):
    router.ended()
    router.forgets()
    report = Report("req", 1, SessionPhase.SEALED, stop_reason="end_turn", log=LOG)
    router.registry.reports("s1", [list(report)], 2.0)
    assert "req" not in router.registry.requests
