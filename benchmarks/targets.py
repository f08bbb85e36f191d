"""The targets of the figures, and how they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.measure import significant

AT_LEAST, AT_MOST = "≥", "≤"

Target = tuple[str, str, str, float]

TARGETS: tuple[Target, ...] = (
    ("throughput.shared.ratio_to_naive", "512 streams, shared actors: chunks/s over naive", AT_LEAST, 300),
    ("throughput.shared.ratio_to_bound", "the same over bound", AT_LEAST, 0.65),
    ("throughput.shared.ratio_to_redis", "the same over redis_streams, redis-py", AT_LEAST, 4),
    ("throughput.shared.ratio_to_redis_hiredis", "the same over redis_streams, hiredis", AT_LEAST, 3),
    ("throughput.dedicated.ratio_to_naive", "32 streams on 32 actors: chunks/s over naive", AT_LEAST, 300),
    ("growth.ratio_10000_to_512", "10,000 streams over 512, chunks/s", AT_LEAST, 0.8),
    ("latency.light.ratio_to_call", "one stream, light load: median over one call", AT_MOST, 1),
    ("latency.half.ratio_p99_to_call", "256 streams at half load: p99 over one call", AT_MOST, 25),
    ("latency.fixed.ratio_p99_to_call", "256 streams, 20,000 chunks/s: p99 over one call", AT_MOST, 25),
    ("pace.through_sockets.20 x 10/s.cores", "20 streams, 10 chunks/s each: cores busy", AT_MOST, 0.2),
    ("pace.through_sockets.400 x 5/s.cores", "400 streams, 5 chunks/s each: cores busy", AT_MOST, 0.6),
    ("pace.through_sockets.400 x 5/s.p99_ms", "the same: p99, ms", AT_MOST, 5),
    ("memory.bytes_per_open_stream", "memory of an open idle stream, all processes", AT_MOST, 8 * 1024),
    ("memory_listening.bytes_per_open_stream", "the same, read by `Subscription.listen`", AT_MOST, 8 * 1024),
    ("open.ratio_to_call", "open to first message over one call", AT_MOST, 1.5),
    ("start.beyond_ray_init_s", "StreamRouter.start beyond ray.init, s", AT_MOST, 1.5),
    ("fairness.ratio_p99", "100 small streams beside a flood: p99 over without", AT_MOST, 2),
    ("idle.cpu_percent_of_streams", "10,000 silent streams: percent of a core", AT_MOST, 1),
)


def look_up(found: dict[str, Any], path: str) -> Any:
    """Return the figure at a dotted path; None where it was not measured."""
    value: Any = found
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def add_ratios(found: dict[str, Any]) -> None:
    """Put the ratios to the baselines where their figures are; those that were measured by turns count for more."""

    def ratio(over: str, under: str) -> float | None:
        above, below = look_up(found, f"{over}.median"), look_up(found, f"{under}.median")
        return significant(above / below, 3) if above and below else None

    throughput = found.get("throughput", {})
    shared = "throughput.shared.chunks_per_s"
    for name, baseline in (
        ("ratio_to_naive", "naive.chunks_per_s"),
        ("ratio_to_naive_8_streams", "naive.chunks_per_s_8_streams"),
        ("ratio_to_bound", "bound.chunks_per_s"),
        ("ratio_to_bound_without_models", "bound.chunks_per_s_without_models"),
        ("ratio_to_redis", "redis_streams.chunks_per_s"),
        ("ratio_to_redis_hiredis", "redis_streams.chunks_per_s_hiredis"),
        ("ratio_to_nats", "nats_jetstream.chunks_per_s"),
        ("ratio_to_ray_queue", "ray_queue.chunks_per_s"),
        ("ratio_to_serve", "serve_streaming.chunks_per_s"),
    ):
        value = ratio(shared, f"baselines.{baseline}")
        by_turns = look_up(found, f"by_turns.{name}.median")
        if by_turns is not None or value is not None:
            throughput.setdefault("shared", {})[name] = value if by_turns is None else by_turns
    value = ratio("throughput.dedicated.chunks_per_s", "baselines.naive.chunks_per_s")
    if value is not None:
        throughput["dedicated"]["ratio_to_naive"] = value


def check(found: dict[str, Any], wanted: Sequence[Target] = TARGETS) -> list[dict[str, Any]]:
    """Return each target with its value and whether it holds (None where it was not measured)."""
    rows = []
    for key, what, relation, target in wanted:
        value = look_up(found, key)
        holds = None if value is None else value >= target if relation == AT_LEAST else value <= target
        rows.append({"key": key, "what": what, "target": f"{relation} {target:g}", "value": value, "holds": holds})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return the targets as lines of text."""
    lines = []
    for row in rows:
        mark = {True: "holds", False: "MISSED", None: "-"}[row["holds"]]
        value = "-" if row["value"] is None else f"{row['value']:g}"
        lines.append(f"{row['what']:<56}{row['target']:>10}{value:>12}  {mark}")
    return "\n".join(lines)
