"""The figures of a whole run, made up: each name that the report reads, once."""

from __future__ import annotations

from typing import Any

from benchmarks import peers, prediction, stages, targets
from benchmarks.curves import CURVES, described


def _figure(median: float) -> dict[str, Any]:
    return {"median": median, "low": 0.9 * median, "high": 1.1 * median, "values": [median]}


def _rate(median: float, name: str) -> dict[str, Any]:
    return {"chunks_per_s": _figure(median), "lacks": peers.LACKS[name]}


_SHARED = {
    "chunks_per_s": _figure(177_700),
    "cpu_us_per_chunk": {
        "producer": 1.7, "consumer": 1.5, "router": 1.5, "stream_actor_1": 2.3, "stream_actor_2": 2.3, "ray": 0.15,
    },
    "other_formats": {"struct": _figure(210_000), "dict": _figure(201_000), "packed": _figure(163_000)},
}  # fmt: skip
_LOADED = {
    "asked_per_s": 71_000, "p50_ms": _figure(47), "p99_ms": _figure(106), "cores_busy": _figure(1.9),
    "ratio_p99_to_call": 86,
}  # fmt: skip
_STAGES = {
    "us_per_chunk": {
        "publisher": {"encode": 0.5, "lane": 0.4, "send": 0.1},
        "router": {"receive": 0.2, "forward": 0.1, "send": 0.1},
        "stream actor": {"receive": 0.1, "decode": 0.7, "translate": 1.1, "log": 0.3, "session": 0.4, "answer": 0.4},
        "reader": {"receive": 0.01, "decode": 0.1, "shape": 0.8, "hand out": 0.1},
    },
    "whole_us_per_chunk": {"publisher": 1.6, "router": 0.8, "stream actor": 3.9, "reader": 2.1},
    "bound_us_per_chunk": {"decode": 0.7, "translate": 1.1, "copy": 0.02, "write": 0.04},
    "bound_chunks_per_s": 1_075_000,
    "hop_us_per_chunk": {"local": 0.06, "network": 0.09},
}


def _pace(pace: str, cores: float) -> dict[str, Any]:
    by = {"driver": cores / 2, "RouterActor": cores / 4, "StreamActor": cores / 4, "Ray's own": 0.0}
    return {"pace": pace, "transport": "auto", "cores": cores, "cores_by": by, "p50_ms": 1.2, "p99_ms": 8.9}


def _found() -> dict[str, Any]:
    rows = [_pace("20 x 10/s", 0.41), _pace("400 x 5/s", 1.39)]
    points = [{"at": at, "cpu_us_per_chunk_in_all": 9.0, "chunks_per_s": 100_000} for at in (1, 10)]
    found: dict[str, Any] = {
        "machine": {"cpus": 2},
        "throughput": {"shared": _SHARED, "dedicated": {"chunks_per_s": _figure(115_000)}},
        "latency": {
            "light": {
                "call_ms": _figure(2.9), "call_without_gaps_ms": _figure(1.2), "p50_ms": _figure(1.6),
                "p99_ms": _figure(2.6), "ratio_to_call": 0.57,
            },
            "half": _LOADED,
            "fixed": _LOADED,
        },
        "open": {"p50_ms": _figure(4.7), "p99_ms": _figure(8.5), "ratio_to_call": 1.43},
        "fairness": {
            "p50_ms": {"alone": 2.1, "beside_a_flood": 1.9}, "p99_ms": {"alone": 7.6, "beside_a_flood": 6.2},
            "ratio_p99": 0.81,
        },
        "bad_input": {"p99_ms": {"alone": 4.1, "beside": 3.0}},
        "growth": {"ratio_10000_to_512": 0.72},
        "memory": {"bytes_per_open_stream": 15_460},
        "memory_listening": {"bytes_per_open_stream": 7_000},
        "idle": {"cpu_percent_of_streams": 0.5},
        "start": {"beyond_ray_init_s": 1.1},
        "pace": {"rows": rows, "through_sockets": {row["pace"]: row for row in rows}},
        "stages": _STAGES,
        "cost_curves": described(dict.fromkeys(CURVES, points)),
        "baselines": {
            "bound": {"chunks_per_s": _figure(595_000)},
            "naive": _rate(313, "naive"),
            "ray_queue": _rate(557, "ray_queue"),
            "redis_streams": {**_rate(50_500, "redis_streams"), "chunks_per_s_hiredis": _figure(70_000)},
            "serve_streaming": _rate(900, "serve_streaming"),
            "nats_jetstream": {"left_out": "no server", "lacks": peers.LACKS["nats_jetstream"]},
        },
    }  # fmt: skip
    targets.add_ratios(found)
    stages.add_standing(found)
    prediction.add_prediction(found)
    found["targets"] = targets.check(found)
    return found


FOUND = _found()
