"""An end that only its router knows is told to its publisher, or taken by a stream actor, before others see it."""

from __future__ import annotations

from registry_driver import HERE, Router, settings

from actors.protocol.states import RequestPhase
from router.core.lifecycle import ROUTER_ITSELF
from router.core.outboxes import CLIENT_TIMEOUT_S


def ended(router: Router) -> list[str]:
    """Return of which requests it was noted that they have ended, since it was last asked."""
    return [note.request_id for note in router.registry.take_effects().notes if note.kind == "ended"]


def cancelled_without_a_place() -> Router:
    """A router without stream actors, with a request that has been cancelled."""
    router = Router()
    router.opens("req")
    router.publisher_hears("req")
    router.registry.locate("reader", 1, ["req"], [], 0.0)
    router.registry.cancel("req", 1.0, detail="no more")
    router.registry.validate()
    return router


def seen_by(router: Router, client_id: str) -> tuple[str, int]:
    """Return what a client has seen that has just had an answer."""
    news = router.registry.news(client_id, ("", 0), 1.0)
    return news.incarnation, news.version


def reader_hears(router: Router) -> str:
    (state,) = router.registry.locate("reader", 1, ["req"], [], 1.0).states
    return state.phase


def test_an_end_that_only_its_router_knows_is_told_to_its_publisher_before_anybody_else():
    """Should the router die before, the publisher registers the request again, and nobody has seen its end."""
    router = cancelled_without_a_place()
    assert reader_hears(router) == RequestPhase.UNKNOWN
    assert (ended(router), router.request("req").actor_id) == ([], None)
    assert router.publisher_hears("req") == RequestPhase.SEALED
    router.registry.saw("publisher", ("", 0), 1.0)
    router.registry.saw("reader", seen_by(router, "reader"), 1.0)
    assert ended(router) == [], "its publisher may not have had the answer"
    router.registry.saw("publisher", seen_by(router, "publisher"), 1.0)
    router.registry.validate()
    assert reader_hears(router) == RequestPhase.SEALED
    assert ended(router) == ["req"]
    assert not len(router.registry.lifecycle.untold)


def test_a_stream_actor_that_takes_the_log_knows_of_such_an_end_as_well():
    router = cancelled_without_a_place()
    router.registry.actor_started("s1", 1, HERE, 1.5)
    assert router.request("req").actor_id == "s1"
    assert ended(router) == []
    router.seals("req", 2.0)
    assert ended(router) == ["req"]
    router.registry.saw("publisher", seen_by(router, "publisher"), 2.0)
    assert ended(router) == [], "it is noted once"


def test_a_publisher_that_says_nothing_holds_such_an_end_back_no_longer_than_it_may_be_silent():
    router = cancelled_without_a_place()
    router.passes(1.0 + CLIENT_TIMEOUT_S - 0.1)
    assert ended(router) == []
    router.passes(1.0 + CLIENT_TIMEOUT_S)
    assert ended(router) == ["req"]
    assert router.request("req").actor_id == ROUTER_ITSELF


def test_such_an_end_of_a_publisher_that_is_gone_is_held_back_by_nobody():
    router = Router()
    router.opens("req")
    router.registry.disown("publisher", "req", 1.0)
    assert router.request("req").actor_id == ROUTER_ITSELF
    assert ended(router) == ["req"]


def test_nothing_stays_of_such_an_end_when_its_time_to_live_is_over():
    router = Router()
    router.opens("req", packed=settings(sealed_ttl_s=4.0))
    router.registry.cancel("req", 1.0)
    router.passes(2.9)
    assert ended(router) == []
    router.passes(3.1)
    assert ended(router) == ["req"], "readers have half of it at least"
    router.passes(5.1)
    assert "req" not in router.registry.requests
    assert not len(router.registry.lifecycle.untold)
