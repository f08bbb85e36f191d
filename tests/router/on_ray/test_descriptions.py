"""What a router actor tells of itself."""

from __future__ import annotations

from actors.protocol.frames import pack
from actors.settings import StreamSettings, packed
from router.config import RouterConfig
from router.core.lifecycle import ROUTER_ITSELF
from router.core.registry import Registry
from router.on_ray import descriptions

CONFIG = RouterConfig.model_validate({"stream_actors": {"max_actors": 1, "warm_actors": 1}})


def a_registry() -> Registry:
    registry = Registry(CONFIG, "me", 0.0)
    registry.keep_house(0.0)
    registry.actor_started("s1", 7, "elsewhere", 0.0)
    registry.open("client", "request", packed(StreamSettings()), 0.0, date="", agent_id="ada", agent_number=1)
    registry.take_effects()
    return registry


def test_it_names_the_router_its_actors_and_its_requests_and_is_plain_data():
    told = descriptions.of_router(a_registry(), CONFIG, 0, {"s1": {"gemini: new": 2}}, pid=3, node_id="here")
    pack(told)
    router, (actor,), (request,) = told["router"], told["stream_actors"], told["requests"]
    assert (router["actor_id"], router["pid"], router["node_id"]) == (CONFIG.router_name(0), 3, "here")
    assert (router["state"], router["open_requests"]) == ("ready", 1)
    assert (actor["actor_id"], actor["pid"], actor["node_id"]) == (CONFIG.stream_actor_name(0, "s1"), 7, "elsewhere")
    assert actor["unknown_events"] == {"gemini: new": 2}
    assert (request["request_id"], request["agent_id"]) == ("request", "ada")
    assert request["actor_id"] == actor["actor_id"]


def test_a_router_that_drains_says_so():
    registry = a_registry()
    registry.admission.draining = True
    told = descriptions.of_router(registry, CONFIG, 0, {}, pid=3, node_id="here")
    assert told["router"]["state"] == "draining"
    assert told["stream_actors"][0]["unknown_events"] == {}, "of an actor that did not answer nothing is known"


def test_a_request_is_held_by_an_actor_by_the_router_itself_or_by_nobody():
    registry = a_registry()
    for holder, name in [
        (None, None),
        (ROUTER_ITSELF, CONFIG.router_name(0)),
        ("s1", CONFIG.stream_actor_name(0, "s1")),
    ]:
        registry.requests["request"].actor_id = holder
        (request,) = descriptions.of_router(registry, CONFIG, 0, {}, pid=3, node_id="here")["requests"]
        assert request["actor_id"] == name
