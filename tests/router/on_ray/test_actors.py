"""Making Ray actors: what is handed to Ray's control store is handed once, however many actors there are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from actors.stream.stream_actor import StreamActor
from router.client.launch.hosts import AgentHost, Hosts, run_in_task
from router.client.launch.performing import Order
from router.config import RouterConfig
from router.on_ray import actors
from router.on_ray.router_actor import RouterActor


class Ray:
    """Notes what is made of plain classes, and with which options actors are started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[Any] = []
        self.said: list[dict[str, Any]] = []
        actors.remote.cache_clear()
        monkeypatch.setattr(actors.ray, "remote", self.remote)

    def remote(self, plain: Any) -> Any:
        self.made.append(plain)
        return self

    def options(self, **options: Any) -> Any:
        self.said.append(options)
        return SimpleNamespace(remote=lambda *_arguments, **_named: "a handle")


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch):
    yield Ray(monkeypatch)
    actors.remote.cache_clear()


def test_stream_actors_are_of_one_class_each_with_its_name_and_its_options(ray):
    config = RouterConfig.model_validate({"stream_actors": {"resources": {"gpu": 1.0}, "memory_bytes": 1 << 20}})
    for actor_id in ("s1", "s2"):
        assert actors.make_stream_actor(config, 0, actor_id, "the router") == "a handle"
    assert ray.made == [StreamActor]
    assert [options["name"] for options in ray.said] == [
        config.stream_actor_name(0, "s1"),
        config.stream_actor_name(0, "s2"),
    ]
    assert all(options["max_restarts"] == options["max_task_retries"] == 0 for options in ray.said)
    assert all(options["resources"] == {"gpu": 1.0} and options["memory"] == 1 << 20 for options in ray.said)


@pytest.mark.parametrize("spread", [True, False])
def test_routers_and_stream_actors_ask_for_nodes_of_their_own_where_they_are_to_be_spread(ray, spread):
    config = RouterConfig.model_validate({"stream_actors": {"spread": spread}})
    actors.make_router_actor(RouterActor, config, 0)
    actors.make_stream_actor(config, 0, "s1", "the router")
    wanted = ["SPREAD", "SPREAD"] if spread else [None, None]
    assert [options.get("scheduling_strategy") for options in ray.said] == wanted


def test_routers_of_all_shards_are_of_one_class(ray):
    for shard in range(3):
        actors.make_router_actor(RouterActor, RouterConfig(), shard)
    assert ray.made == [RouterActor]
    assert [options["max_restarts"] for options in ray.said] == [-1, -1, -1]


def test_agents_are_one_function_and_one_class_of_hosts(ray):
    hosts = Hosts()
    order = Order("req", None, None, "reject", b"", b"")
    for _ in range(3):
        assert hosts.submit("router", order, 0, {"num_cpus": 2}) == "a handle"  # type: ignore[arg-type]
    assert ray.made == [run_in_task]
    assert [options["num_cpus"] for options in ray.said] == [2, 2, 2]
    ray.said.clear()
    with pytest.raises(AttributeError):  # what stands for a host here runs nothing
        hosts.submit("router", order, 2, {})  # type: ignore[arg-type]
    assert ray.made == [run_in_task, AgentHost]
    assert len(ray.said) == 2


def test_an_actor_of_which_ray_has_forgotten_the_class_is_gone(monkeypatch):
    def get_actor(_name, *, namespace):
        raise AssertionError(f"Expected str or bytes, got <class 'NoneType'> ({namespace})")

    monkeypatch.setattr(actors.ray, "get_actor", get_actor)
    with pytest.raises(ValueError, match=r"actor 'agents/router-0' in namespace 'here' is gone"):
        actors.find_router_actor("agents", "here", 0)


@pytest.mark.parametrize(
    ("said", "restarts"), [({}, 0), ({"NumRestarts": "0"}, 0), ({"NumRestarts": "2"}, 2), ({"NumRestarts": 3}, 3)]
)
def test_a_router_of_which_the_control_store_says_nothing_begins_as_a_new_one(monkeypatch, said, restarts):
    asked = []
    monkeypatch.setattr(actors.ray, "get_runtime_context", lambda: SimpleNamespace(get_actor_id=lambda: "a1"))
    monkeypatch.setattr("ray._private.state.actors", lambda actor_id: asked.append(actor_id) or said)
    assert actors.restarts() == restarts
    assert asked == ["a1"]
