"""The sections of a run, each with what it measures; `python -m benchmarks` runs them in this order."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from benchmarks import (
    bound,
    curves,
    measure,
    naive,
    nats_jetstream,
    ours,
    pace,
    peers,
    ray_queue,
    redis_streams,
    serve_streaming,
    stages,
    starting,
)
from benchmarks.measure import figure
from benchmarks.plan import Plan

STREAM_ACTORS = 2
FIXED_CHUNKS_PER_S = 20_000.0
NAIVE_STREAMS = (8, 32)

Found = dict[str, Any]


def say(text: str) -> None:
    """Print progress to standard error."""
    print(text, file=sys.stderr, flush=True)


# --- without a Ray of this process --------------------------------------------------------------


def measure_stages(plan: Plan, found: Found) -> None:
    """What each stage costs, and the bound by stage."""
    say("stages: each stage's own code, in this process")
    found["stages"] = stages.measure_stages(plan.stage_blocks)


def measure_starts(plan: Plan, found: Found) -> None:
    """How long a start takes beyond Ray's own."""
    say("start: ray.init, and StreamRouter.start")
    found["start"] = starting.measure_starts(plan.starts)


def measure_pace(plan: Plan, found: Found) -> None:
    """The pace of real models."""
    say(f"pace: {', '.join(plan.pace_loads)}")
    rows, _ = pace.measure_rounds(plan.pace_loads, plan.pace_transports, rounds=plan.pace_rounds)
    through_sockets = {row["pace"]: row for row in rows if row["transport"] == "auto"}
    found["pace"] = {"rounds": plan.pace_rounds, "rows": rows, "through_sockets": through_sockets}


# --- the alternatives ---------------------------------------------------------------------------


async def measure_baselines(plan: Plan, found: Found) -> None:
    """The alternatives with the same chunks."""
    baselines = found.setdefault("baselines", {})
    say("bound: the same work in one process, without Ray")
    repeats = range(max(plan.repeats, 3))
    to_batches = [2 * bound.chunks_per_s(plan.bound_chunks, to_messages=False) for _ in repeats]
    to_messages = [2 * bound.chunks_per_s(plan.bound_chunks, to_messages=True) for _ in repeats]
    baselines["bound"] = {
        "cores": 2,
        "chunks_per_s": figure(to_messages),
        "chunks_per_s_without_models": figure(to_batches),
    }
    await _measure_brokers(plan, baselines)
    say("naive: one call per chunk per hop, 8 and 32 actors")
    rates = {
        streams: await naive.chunks_per_s(streams, 4 * plan.naive_chunks * 8 // streams, plan.repeats)
        for streams in NAIVE_STREAMS
    }
    baselines["naive"] = {"streams": 32, "chunks_per_s": figure(rates[32]), "chunks_per_s_8_streams": figure(rates[8])}
    say("ray_queue: 8 queues")
    queues = await ray_queue.chunks_per_s(8, 4 * plan.naive_chunks, plan.repeats)
    baselines["ray_queue"] = {"streams": 8, "chunks_per_s": figure(queues)}
    if _is_there("serve_streaming", serve_streaming.missing(), baselines):
        say("serve_streaming: 32 streaming calls of a deployment of two replicas")
        served = await serve_streaming.chunks_per_s(32, plan.serve_chunks, plan.repeats)
        baselines["serve_streaming"] = {"streams": 32, "chunks_per_s": figure(served)}
    for name, lacks in peers.LACKS.items():
        baselines[name]["lacks"] = lacks


async def _measure_brokers(plan: Plan, baselines: Found) -> None:
    """Brokers beside Ray: a server of their own on the same cores."""
    if _is_there("redis_streams", redis_streams.missing(), baselines):
        say("redis_streams: 512 streams through a redis-server")
        plain = await redis_streams.chunks_per_s(512, plan.broker_chunks, plan.repeats, hiredis=False)
        baselines["redis_streams"] = {"streams": 512, "chunks_per_s": figure(plain)}
        if redis_streams.has_hiredis():
            fast = await redis_streams.chunks_per_s(512, plan.broker_chunks, plan.repeats, hiredis=True)
            baselines["redis_streams"]["chunks_per_s_hiredis"] = figure(fast)
    if _is_there("nats_jetstream", nats_jetstream.missing(), baselines):
        say("nats_jetstream: 512 streams through a nats-server")
        rates = await nats_jetstream.chunks_per_s(512, plan.broker_chunks, plan.repeats)
        baselines["nats_jetstream"] = {"streams": 512, "chunks_per_s": figure(rates)}


def _is_there(name: str, missing: str | None, baselines: Found) -> bool:
    """Whether a peer can be measured; where not, the figures say why."""
    if missing is not None:
        say(f"{name}: left out, {missing}")
        baselines[name] = {"left_out": missing}
    return missing is None


# --- the router ---------------------------------------------------------------------------------


async def measure_throughput(plan: Plan, found: Found, stage: ours.Stage) -> None:
    """512 streams on shared actors."""
    say("throughput: 512 streams on shared actors")
    shared = await ours.throughput(stage, 512, plan.shared_chunks, plan.repeats)
    others = {
        fmt: await ours.throughput(stage, 512, plan.shared_chunks, max(1, plan.repeats // 2), fmt)
        for fmt in ("struct", "dict", "packed")
    }
    shared["other_formats"] = {fmt: run["chunks_per_s"] for fmt, run in others.items()}
    found.setdefault("throughput", {})["shared"] = shared


async def measure_by_turns(plan: Plan, found: Found, stage: ours.Stage) -> None:
    """The router, the bound and Redis, one behind the other in each round: how fast a machine is may change meanwhile.

    What is looked at is the ratio of each round.
    """
    say("by turns: 512 streams through the router, bound, Redis")
    ratios: dict[str, list[float]] = {}
    clients = {"redis": False, "redis_hiredis": True}
    async with AsyncExitStack() as stack:
        redis = None if redis_streams.missing() else await stack.enter_async_context(redis_streams.pair())
        for number in range(1 + plan.repeats):
            ours_per_s = (await ours.carry(stage, 512, plan.shared_chunks))["chunks_per_s"]
            others = {"bound": 2 * bound.chunks_per_s(plan.bound_chunks, to_messages=True)}
            for name, hiredis in clients.items():
                if redis is not None and (not hiredis or redis_streams.has_hiredis()):
                    others[name] = await redis(512, plan.broker_chunks, hiredis)
            for name, per_s in others.items() if number else ():  # the first of them warms up
                ratios.setdefault(f"ratio_to_{name}", []).append(ours_per_s / per_s)
    found["by_turns"] = {name: figure(values, 3) for name, values in ratios.items()}


async def measure_latency(plan: Plan, found: Found, stage: ours.Stage) -> None:
    """One stream at a light load, 256 at half of what they can do at most."""
    latency = found.setdefault("latency", {})
    say("latency: one stream, light load")
    latency["light"] = await ours.light(stage, plan.seconds, plan.light_repeats)
    say("latency: 256 streams at half of their saturated rate")
    latency["saturated"] = await ours.throughput(stage, 256, plan.shared_chunks, plan.half_repeats, alternate=True)
    call_ms = latency["light"]["call_without_gaps_ms"]["median"]
    saturated = latency["saturated"]["chunks_per_s"]["median"]
    latency["half"] = await ours.loaded(stage, saturated / 2, plan.seconds, plan.half_repeats, call_ms)
    say(f"latency: 256 streams at {FIXED_CHUNKS_PER_S:,.0f} chunks a second")
    latency["fixed"] = await ours.loaded(stage, FIXED_CHUNKS_PER_S, plan.seconds, plan.half_repeats, call_ms)


async def measure_curves(plan: Plan, found: Found, stage: ours.Stage) -> None:
    """Throughput over the number of streams, latency over the load."""
    say("curves: throughput over the number of streams")
    total = 512 * plan.shared_chunks // 2
    found["curves"] = {"throughput": [], "latency": []}
    for streams in plan.stream_counts:
        runs = [await ours.carry(stage, streams, max(10, min(total // streams, 60_000))) for _ in range(2)]
        found["curves"]["throughput"].append(
            {"streams": streams, "chunks_per_s": measure.significant(max(run["chunks_per_s"] for run in runs))}
        )
    say("curves: latency over the load")
    if "saturated" not in found.get("latency", {}):
        run = await ours.throughput(stage, 256, plan.shared_chunks, 2, alternate=True)
        found.setdefault("latency", {})["saturated"] = run
    saturated = found["latency"]["saturated"]["chunks_per_s"]["median"]
    for load in plan.loads:
        run = await ours.paced(stage, 256, load * saturated, plan.seconds)
        found["curves"]["latency"].append({"load": load, **run})


async def measure_growth(plan: Plan, found: Found, stage: ours.Stage) -> None:
    """Many streams against 512, with as many chunks in all."""
    say(f"growth: {plan.many} streams against 512")
    chunks = plan.growth_chunks
    few = await ours.throughput(stage, 512, plan.many * chunks // 512, plan.growth_repeats)
    many = await ours.throughput(stage, plan.many, chunks, plan.growth_repeats)
    ratio = many["chunks_per_s"]["median"] / few["chunks_per_s"]["median"]
    found["growth"] = {"512": few, str(plan.many): many, "ratio_10000_to_512": measure.significant(ratio, 3)}


async def measure_opening(plan: Plan, found: Found, stage: ours.Stage) -> None:
    """From opening to the first message."""
    say("open: from publish to the first message")
    found["open"] = await ours.opening(stage, plan.opens, plan.light_repeats)


async def measure_fairness(plan: Plan, found: Found, stage: ours.Stage) -> None:
    """Small streams beside a flood."""
    say("fairness: 100 small streams beside a flood")
    found["fairness"] = await ours.fairness(stage, plan.fairness_rounds)


async def measure_cost_curves(plan: Plan, found: Found, stage: ours.Stage) -> None:
    """Cost per chunk as the work grows; adds reading processes to the stage."""
    found["cost_curves"] = await curves.measure_curves(plan, stage)


async def measure_silence(plan: Plan, found: Found) -> None:
    """Memory and CPU of silent streams."""
    say(f"memory and idling: {plan.many} open silent streams")
    async with ours.stage(actors=STREAM_ACTORS) as stage:
        found |= await ours.silence(stage, plan.many, plan.idle_s)
    say("the same, read by listening")
    async with ours.stage(actors=STREAM_ACTORS) as stage:
        found["memory_listening"] = (await ours.silence(stage, plan.many, plan.idle_s, listens=True))["memory"]


async def measure_dedicated(plan: Plan, found: Found) -> None:
    """32 streams on 32 actors."""
    say("dedicated: 32 streams on 32 actors")
    async with ours.stage(actors=32, streams_per_actor=1) as stage:
        run = await ours.throughput(stage, 32, plan.dedicated_chunks, plan.repeats)
    found.setdefault("throughput", {})["dedicated"] = run


async def measure_bad_input(plan: Plan, found: Found, stage: ours.Stage) -> None:
    """Streams that misbehave, and the latency of others meanwhile."""
    say("bad input: a reader that never acknowledges, a million-byte chunk, odd and long IDs")
    found["bad_input"] = await ours.bad_input(stage, plan.seconds)


ON_STAGE: dict[str, Callable[[Plan, Found, ours.Stage], Awaitable[None]]] = {
    "throughput": measure_throughput,
    "by_turns": measure_by_turns,
    "latency": measure_latency,
    "open": measure_opening,
    "fairness": measure_fairness,
    "bad_input": measure_bad_input,
    "growth": measure_growth,
    "curves": measure_curves,
    "cost_curves": measure_cost_curves,
}
Section = Callable[[Plan, Found], Awaitable[None]]
WITHOUT_RAY: dict[str, Callable[[Plan, Found], None]] = {
    "stages": measure_stages,
    "start": measure_starts,
    "pace": measure_pace,
}
BEFORE_STAGE: dict[str, Section] = {"memory": measure_silence}
AFTER_STAGE: dict[str, Section] = {"dedicated": measure_dedicated, "baselines": measure_baselines}
SECTIONS = (*WITHOUT_RAY, *BEFORE_STAGE, *ON_STAGE, *AFTER_STAGE)
