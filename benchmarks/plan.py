"""How much is measured: everything, or roughly and quickly."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    repeats: int
    shared_chunks: int
    naive_chunks: int
    serve_chunks: int
    broker_chunks: int
    bound_chunks: int
    dedicated_chunks: int
    growth_chunks: int
    growth_repeats: int
    many: int
    seconds: float
    light_repeats: int
    half_repeats: int
    opens: int
    fairness_rounds: int
    idle_s: float
    stream_counts: tuple[int, ...]
    loads: tuple[float, ...]
    stage_blocks: int
    starts: int
    pace_loads: tuple[str, ...]
    pace_transports: tuple[str, ...]
    pace_rounds: int
    curve_chunks: int
    curve_repeats: int


FULL = Plan(
    repeats=5,
    shared_chunks=800,
    naive_chunks=40,
    serve_chunks=100,
    broker_chunks=200,
    bound_chunks=200_000,
    dedicated_chunks=4000,
    growth_chunks=40,
    growth_repeats=3,
    many=10_000,
    seconds=6.0,
    light_repeats=3,
    half_repeats=5,
    opens=100,
    fairness_rounds=3,
    idle_s=20.0,
    stream_counts=(1, 8, 32, 128, 512, 2048, 10_000),
    loads=(0.1, 0.25, 0.5, 0.75, 0.9),
    stage_blocks=40,
    starts=3,
    pace_loads=("20x10", "100x5", "400x5"),
    pace_transports=("ray", "auto", "bare"),
    pace_rounds=1,
    curve_chunks=200_000,
    curve_repeats=3,
)
QUICK = Plan(
    repeats=2,
    shared_chunks=300,
    naive_chunks=15,
    serve_chunks=40,
    broker_chunks=60,
    bound_chunks=60_000,
    dedicated_chunks=1000,
    growth_chunks=40,
    growth_repeats=1,
    many=10_000,
    seconds=2.5,
    light_repeats=1,
    half_repeats=2,
    opens=30,
    fairness_rounds=1,
    idle_s=6.0,
    stream_counts=(1, 32, 512),
    loads=(0.25, 0.5, 0.75),
    stage_blocks=10,
    starts=1,
    pace_loads=("20x10", "400x5"),
    pace_transports=("auto", "bare"),
    pace_rounds=1,
    curve_chunks=60_000,
    curve_repeats=1,
)
