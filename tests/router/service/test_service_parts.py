"""The parts of service mode that need no cluster: configurations, names, rates, tables, reasons."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from actors.errors import ConfigError
from router.cli import service_view
from router.client import service
from router.config import RouterConfig, load_config
from router.on_ray.cluster import why
from router.status.overview import Overview, RequestDescription


def overview(chunks: int = 0, actors: int = 1, streams: int = 0, **router) -> Overview:
    counts = {"opened": chunks, "refused": 0, "restarted": 0, "lost": 0, "sealed": 0, "chunks": 0, "chunk_bytes": 0}
    return Overview.model_validate(
        {
            "name": "agents",
            "namespace": "ns",
            "routers": [
                {
                    "actor_id": "agents/router-0", "shard": 0, "pid": 1, "node_id": "a" * 56, "state": "ready",
                    "waiting": 0, "open": 3, "sealed": 0, "clients": 1, "counts": counts, "ended_by": {"end_turn": 2},
                    "refused_by": {"pool_full": 1}, **router,
                }
            ],
            "stream_actors": [
                {
                    "actor_id": f"agents/0/s{n}", "shard": 0, "pid": 2 + n, "node_id": "b" * 56, "state": "ready",
                    "open": n, "served": 9, "answered": n != 1, "chunks": chunks, "messages": chunks,
                    "chunk_bytes": chunks * 1000, "unread_bytes": 1_500_000,
                }
                for n in range(actors)
            ],
            "streams": [
                {
                    "request_id": f"req-{n}", "actor_id": "agents/0/s0", "epoch": 1, "provider": "gemini",
                    "messages": chunks, "lag": n, "unread_bytes": n, "age_s": 90.0, "agent_id": None,
                }
                for n in range(streams)
            ],
        }
    )  # fmt: skip


def shown(renderable, width: int = 160, height: int = 200) -> str:
    console = Console(width=width, height=height, record=True, file=None, force_terminal=False, no_color=True)
    with console.capture() as captured:
        console.print(renderable)
    return captured.get()


def test_a_service_is_detached_and_on_a_running_cluster():
    local = service.as_service(load_config("local"), {})
    assert local.detached
    assert local.ray.address == "auto"
    assert service.as_service(load_config("local"), {}, "head:6379").ray.address == "head:6379"
    assert service.as_service(RouterConfig.model_validate({"ray": {"address": "a:1"}}), {}).ray.address == "a:1"


def test_any_key_can_be_changed_and_a_wrong_one_is_named():
    changed = service.as_service(load_config("cluster"), {"stream_actors.max_actors": 2, "routers": 7, "name": "mine"})
    assert (changed.stream_actors.max_actors, changed.routers, changed.name) == (2, 7, "mine")
    assert changed.stream_actors.spread
    for key, said in (("stream_actors.max_actor", "max_actors"), ("routers.x", "routers"), ("nonsense", "unknown key")):
        with pytest.raises(ConfigError, match=said):
            service.as_service(load_config("cluster"), {key: 2})


def test_the_code_that_is_shipped_to_nodes_is_all_packages_whole():
    shipped = [Path(folder) for folder in service.ship_code()["py_modules"]]
    assert [folder.name for folder in shipped] == ["router", "actors", "gateway"]
    assert all((folder / "__init__.py").is_file() for folder in shipped)


def test_services_are_what_ray_lists_by_name(monkeypatch):
    names = ["b/router-1", "b/0/s2", "b/router-0", "a/1/s10", "other", "x/y/z", "b/router-x", "b/0/t1"]
    listed = [{"name": name, "namespace": "ns"} for name in names] + [{"name": "b/router-0", "namespace": "else"}]
    monkeypatch.setattr(service, "list_named_actors", lambda **_: listed)
    found = {(s.namespace, s.name): (s.routers, s.stream_actors) for s in service.find_services()}
    assert found == {
        ("ns", "a"): ([], ["a/1/s10"]),
        ("ns", "b"): (["b/router-0", "b/router-1"], ["b/0/s2"]),
        ("else", "b"): (["b/router-0"], []),
    }
    assert [s.namespace for s in service.find_services("else")] == ["else"]


def test_why_is_one_line_and_says_what_to_do():
    text = "The actor died, \x1b[36mray::x\x1b[39m (pid=1)\n  File y\nModuleNotFoundError: No module named 'router'"
    assert "start --ship-code" in why(ValueError(text))
    assert "\n" not in why(ValueError(text))
    assert "\x1b" not in why(ValueError("a\n\x1b[36mb\x1b[39m"))
    assert why(ValueError("a\nModuleNotFoundError: No module named 'numpy'\n\n")).endswith("'numpy'")
    assert "resources" in why(TimeoutError())
    assert why(ValueError()) == "ValueError"


def test_rates_are_differences_over_time_and_never_negative():
    rates = service_view.Rates(overview(chunks=100), overview(chunks=350), 2.0)
    assert (rates.chunks, rates.messages, rates.chunk_bytes) == (125.0, 125.0, 125_000.0)
    assert service_view.Rates(overview(chunks=100), overview(chunks=3), 2.0).chunks == 0.0
    assert service_view.Rates(None, overview(chunks=100), 0.0).chunks == 0.0


def test_status_shows_every_actor_and_what_ended_and_why():
    text = shown(service_view.status(overview(chunks=7, actors=3)))
    assert all(f"agents/0/s{n}" in text for n in range(3))
    assert "silent" in text
    assert "1.5 MB" in text
    assert "end_turn 2" in text
    assert "pool_full 1" in text
    assert "chunks/s" not in text


@pytest.mark.parametrize("height", [20, 24, 40, 60])
def test_the_live_view_fits_the_screen(height):
    now = overview(chunks=5, actors=60, streams=60)
    text = shown(service_view.top(now, service_view.Rates(None, now, 0.0), height), height=height)
    assert len(text.splitlines()) <= height
    assert "more" in text


def test_a_narrow_terminal_has_fewer_columns_and_no_cut_ones():
    now = overview(chunks=5, actors=3, streams=3)
    rates = service_view.Rates(now, now, 1.0)
    wide, narrow = (shown(service_view.top(now, rates, None), width=width) for width in (160, 80))
    assert "\u2026" not in wide + narrow
    assert "pid" in wide
    assert "pid" not in narrow
    for kept in ("opens/s", "lost", "chunks/s", "messages/s", "unread", "lag", "agents/0/s2"):
        assert kept in narrow


def test_a_view_of_a_service_without_anything_is_still_a_view():
    empty = Overview(name="agents", namespace="ns", routers=[], stream_actors=[], streams=[])
    assert "0 routers" in shown(service_view.top(empty, service_view.Rates(empty, empty, 1.0), None))
    assert "none yet" in shown(service_view.status(empty))


def test_requests_are_listed_with_their_ends():
    text = shown(
        service_view.requests(
            [
                RequestDescription(
                    request_id="req-1", state="sealed", actor_id="agents/0/s1", epoch=2, stop_reason="lost",
                    last_seq_id=1234, agent_id="ada",
                )
            ]
        )
    )  # fmt: skip
    assert all(word in text for word in ("req-1", "sealed", "agents/0/s1", "lost", "1,234", "ada"))
