"""What a workload may say, and what is said to one that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.errors import ConfigError
from router.loadtest.plan import Planner, all_recordings
from router.loadtest.runner import _prepare
from router.loadtest.workload import Workload, packaged_workloads

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("file", sorted((ROOT / "configs" / "loadtest").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_packaged_workload_is_valid_and_can_be_planned(file: Path, recordings):
    workload = Workload.load(file)
    planner = Planner(workload, all_recordings(workload, recordings))
    assert planner.expected_s() > 0
    assert planner.stream(0) == planner.stream(0)


def test_a_packaged_workload_is_found_by_its_name():
    assert Workload.load("chaos").name == "chaos"
    assert {"steady", "chaos", "quick", "sse"} <= packaged_workloads().keys()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"arival": {}}, "arival: unknown key; did you mean 'arrival'?"),
        ({"readers": {"slow": {"shar": 0.1}}}, "readers.slow.shar: unknown key; did you mean 'share'?"),
        (
            {"mix": [{"events_per_s": {"unifrom": [1, 2]}}]},
            "mix.0.events_per_s.unifrom: unknown key; did you mean 'uniform'?",
        ),
        ({"mix": [{"events_per_s": {"uniform": [3, 1]}}]}, "expected [low, high]"),
        ({"mix": [{"events_per_s": {"uniform": [1, 2], "fixed": 1}}]}, "expected exactly one of"),
        ({"mix": [{"events_per_s": "fast"}]}, "expected a number or one of"),
        ({"mix": [{"script": {"jiter": 1}}]}, "jiter: unknown key; did you mean 'jitter'?"),
        ({"mix": [{"script": {"events_per_s": 5}}]}, "set events_per_s beside `script`"),
        ({"mix": [{"settings": {"dialekt": "chat"}}]}, "dialekt: unknown key; did you mean 'dialect'?"),
        ({"mix": [{"synthetic": {}, "apis": ["gemini"]}]}, "make two kinds"),
        ({"mix": []}, "mix is empty"),
        ({"thresholds": {"added_latency.p99": 5}}, "did you mean 'added_latency_ms.p99'?"),
        ({"thresholds": {"lost": {"at_most": 0}}}, "at_most: unknown key"),
        ({"arrival": {"kind": "rate", "concurrency": 4}}, "concurrency has no meaning for kind rate"),
        ({"arrival": {"kind": "spikes", "spike_s": 30}}, "a spike must end before the next"),
        ({"chaos": {"faults": "kill-rooter:1"}}, "did you mean 'kill-router'?"),
        ({"chaos": {"faults": "kill-router:x"}}, "expected kind:number"),
        ({"chaos": {"faults": {"kill-router": 0.5}}}, "expected a whole number"),
        ({"chaos": {"faults": {"rpc-failures": 3}}}, "a share of all calls"),
        ({"chaos": {"from_s": 10, "until_s": 5}}, "until_s must be later"),
        ({"chaos": {"faults": "kill-node:1"}, "router": {"connect": "agents"}}, "kill-node needs a cluster of our own"),
        ({"router": {"connect": "agents", "overrides": {"routers": 2}}}, "overrides has no meaning with connect"),
        ({"router": {"address": "head:6379"}}, "address has no meaning without connect"),
        ({"chaos": {"faults": "rpc-failures:0.05"}, "router": {"connect": "agents"}}, "must be set before Ray starts"),
        ({"chaos": {"faults": "kill-gateway:1"}}, "set readers.via: sse"),
        ({"readers": {"gateways": 2}}, "gateways has no meaning for readers via router"),
        ({"readers": {"via": "sse", "format": "xml"}}, "readers.format"),
        (
            {"readers": {"via": "sse", "format": "ui"}, "mix": [{"settings": {"when_full": "drop_oldest"}}]},
            "the format ui has no word for what was dropped; read it as native",
        ),
        (
            {"readers": {"via": "sse", "format": "chat"}, "thresholds": {"added_latency_ms.p99": 5}},
            "it is in langgraph, letta, native",
        ),
        ({"target": {"kind": "endpoint"}}, "needs `endpoint`"),
        ({"target": {"requests": "x.jsonl"}}, "no meaning for kind scripted"),
    ],
)
def test_what_is_wrong_is_named_by_its_key(wrong: dict[str, Any], said: str):
    with pytest.raises(ConfigError, match="workload: ") as caught:
        Workload.load({"streams": 1, **wrong})
    assert said in str(caught.value)


def test_a_workload_without_an_end_is_refused():
    with pytest.raises(ConfigError, match="set streams, duration_s or both"):
        Workload.load({})


def test_a_file_that_is_not_there_or_no_yaml_is_a_clear_error(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"packaged workloads are .*chaos"):
        Workload.load(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("streams: [1\n")
    with pytest.raises(ConfigError, match=r"line 2.*not valid YAML"):
        Workload.load(broken)


def test_changes_reach_nested_keys_and_are_validated():
    changed = Workload.load("quick", {"arrival.rate_per_s": 9, "chaos.faults": "kill-router"})
    assert changed.arrival.rate_per_s == 9
    assert changed.chaos.faults == {"kill-router": 1}
    with pytest.raises(ConfigError, match="'streams' holds 50"):
        Workload.load("quick", {"streams.number": 9})


def test_a_change_reaches_into_a_list():
    changed = Workload.load("quick", {"mix.1.weight": 9})
    assert [kind.weight for kind in changed.mix] == [3, 9]
    with pytest.raises(ConfigError, match=r"mix\.7\.weight: there is no '7' in a list of 2"):
        Workload.load("quick", {"mix.7.weight": 9})


def test_overrides_of_the_router_are_validated_before_anything_starts():
    workload = Workload.load({"streams": 1, "router": {"overrides": {"stream_actors": {"max_actor": 9}}}})
    with pytest.raises(
        ConfigError, match=r"router.overrides: stream_actors.max_actor: unknown key; did you mean 'max_actors'"
    ):
        _prepare(workload)
    right = Workload.load({"streams": 1, "router": {"overrides": {"stream_actors": {"max_actors": 9}}}})
    assert right.router_config().stream_actors.max_actors == 9
    plain = Workload.load({"streams": 1}).router_config()
    assert right.router_config().stream_actors.max_streams_per_actor == plain.stream_actors.max_streams_per_actor


def test_settings_whose_text_cannot_be_checked_are_refused():
    workload = Workload.load({"streams": 1, "mix": [{"settings": {"choices": "all"}}]})
    with pytest.raises(ConfigError, match="choices: all cannot be checked"):
        _prepare(workload)


def test_a_kind_that_matches_no_recording_says_what_there_is():
    workload = Workload.load({"streams": 1, "mix": [{"providers": ["nobody"]}]})
    with pytest.raises(ConfigError, match=r"mix.0: no recording matches providers \['nobody'\]; there are .*anthropic"):
        _prepare(workload)
