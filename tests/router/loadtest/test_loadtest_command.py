"""`stream-router loadtest` as a person and a pipeline run it: processes, a Ray of their own, files, exit statuses."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = [sys.executable, "-m", "router.cli"]
DEADLINE_S = 110


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [*PROGRAM, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def workload(folder: Path, **more: object) -> Path:
    file = folder / "w.yaml"
    base = {
        "streams": 30,
        "target": {"kind": "memory"},
        "arrival": {"concurrency": 15},
        "mix": [{"events_per_s": 200, "recordings": ["azure-*", "anthropic-*", "openai-*"]}],
        "readers": {"per_stream": {"choice": [1, 2]}, "late": {"share": 0.3, "delay_s": 0.3}},
        "generators": {"publishers": 2, "readers": 2},
        "router": {"overrides": {"stream_actors": {"max_actors": 2, "warm_actors": 1}}},  # quick to start
    }
    file.write_text(json.dumps({**base, **more}))  # JSON is YAML
    return file


def test_a_run_without_faults_is_verified_and_a_breached_threshold_is_status_3(tmp_path: Path):
    file = workload(tmp_path, thresholds={"lost": 0, "unverified": 0, "added_latency_ms.p99": {"max": 0.001}})
    out = {kind: tmp_path / f"out.{kind}" for kind in ("json", "csv", "html")}
    ended = run("loadtest", file, *(part for kind, path in out.items() for part in (f"--{kind}", path)))
    assert ended.returncode == 3, ended.stdout + ended.stderr
    found = json.loads(out["json"].read_text())
    assert set(found["counts"].values()) == {0}
    assert found["streams"] == 30
    assert found["verified"] == found["readings"] > 30
    assert found["added_latency_ms"]["count"] > 300
    assert [limit["met"] for limit in found["thresholds"]] == [True, True, False]
    assert {process["role"] for process in found["processes"]} >= {
        "driver",
        "router",
        "stream actor",
        "publisher",
        "reader",
    }
    assert sum(found["series"]["messages_per_s"]) * found["series"]["bin_s"] == found["messages"]
    assert len(found["timeline_streams"]["rows"]) == 30
    assert "breached  added_latency_ms.p99" in ended.stdout
    assert "Thresholds breached: added_latency_ms.p99" in out["html"].read_text()
    assert out["csv"].read_text().startswith("at_s,streams_open,")
    compared = run("report", out["json"], out["json"])
    assert compared.returncode == 0
    assert "added latency" in compared.stdout.lower()


def test_the_death_of_a_stream_actor_loses_nothing_and_the_fault_is_in_the_results(tmp_path: Path):
    mix = [{"events_per_s": 15, "recordings": ["azure-*", "zai-*"]}]
    file = workload(tmp_path, mix=mix, chaos={"from_s": 1, "until_s": 3})
    ended = run("loadtest", file, "--chaos", "kill-stream-actor:1", "--json", tmp_path / "out.json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    assert set(found["counts"].values()) == {0}, found["examples"]
    assert [fault["kind"] for fault in found["faults"]] == ["kill-stream-actor"]
    assert found["faults"][0]["target"]


def test_readers_over_http_that_lose_their_gateway_have_everything_in_another_format(tmp_path: Path):
    mix = [{"events_per_s": 15, "recordings": ["azure-*", "zai-*"]}]
    readers = {"via": "sse", "format": "agui", "gateways": 2}
    file = workload(tmp_path, streams=15, mix=mix, readers=readers, chaos={"from_s": 1, "until_s": 3})
    ended = run("loadtest", file, "--chaos", "kill-gateway:1", "--json", tmp_path / "out.json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    assert set(found["counts"].values()) == {0}, found["examples"]
    assert [fault["kind"] for fault in found["faults"]] == ["kill-gateway"]
    assert "read in the format agui, through 2 gateways" in " ".join(ended.stdout.split())


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path):
    file = workload(tmp_path, mix=[{"events_per_s": 0.5, "recordings": ["azure-*"]}])
    out = tmp_path / "out.json"
    command = [*PROGRAM, "loadtest", str(file), "--json", str(out)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "running" in line and " 0 messages/s" not in line:
                break
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        said, complained = process.communicate(timeout=60)
    assert process.returncode == 130, said + complained
    assert time.monotonic() - started < 45
    found = json.loads(out.read_text())
    assert found["interrupted"]
    assert found["ends"] == {"cancelled": 15}, "every stream got its terminal"
    assert found["counts"]["unfinished"] == 0
    assert "Traceback" not in complained
