"""Draws what the features add to a scenario; see `features.py`."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from random import Random

from actors.settings import StreamSettings

from .features import Feature
from .scenario import Close, DiskTrouble, Incident, ReaderPlan, Rival, Scenario, large_message

# A publisher that is silent for so long counts as gone; see `CLIENT_TIMEOUT_S`.
GIVEN_UP_AFTER_S = 12.0
# No scenario has more stream actors.
ACTORS_MAX = 3
# A stop so long is noticed, but is not yet a death; see `ACTOR_DEADLINE_S`.
SLOW_S = 8.8
DAY_S = 24 * 3600.0


def _agents(random: Random, scenario: Scenario) -> None:
    for plan in scenario.requests:
        plan.agent_id = "agent"
        plan.when_busy = random.choice(("reject", "queue", "queue", "interrupt"))
    kind = random.choice(("kill_router", "stop_process", "stop_process", "kill_process", "cut"))
    _incident(random, scenario, kind, seconds=random.choice((5.0, 14.0)))


def _shards(random: Random, scenario: Scenario) -> None:
    if scenario.hostile or scenario.config.tenants.enabled:
        return  # their requests might belong to the second router
    scenario.has_agents_router = True
    scenario.processes = max(2, scenario.processes)
    for number, plan in enumerate(scenario.requests):
        plan.request_id = _of_shard(0, plan.request_id)
        plan.agent_id = _of_shard(1, "agent")
        plan.when_busy = random.choice(("queue", "queue", "interrupt"))
        plan.process = number % scenario.processes
        plan.settings = _with(plan.settings, publisher_grace_s=8.0)
        place = random.randint(0, len(plan.ops))
        plan.ops[place:place] = [("chunk", plan.piece("a")), ("sleep", 0.1)] * random.randint(6, 20)
    at_s = min(plan.starts_s for plan in scenario.requests) + random.uniform(0.1, 2.0)
    kind = random.choice(("close", "close", "close", "kill_agents_router", "stop_agents_router", "kill_router"))
    if kind == "close":
        _incident(random, scenario, "stop_busy_actor", 5.0, at_s - random.uniform(0.0, 0.5))
        first = min(scenario.requests, key=lambda plan: plan.starts_s)
        scenario.closes.append(Close(at_s, random.choice((first, random.choice(scenario.requests))).process))
    else:
        _incident(random, scenario, kind, random.choice((5.0, 14.0)), at_s)


def _of_shard(shard: int, name: str) -> str:
    """Return a name of its own that belongs to one of two routers."""
    return next(found for end in ("", *"abcdefgh") if zlib.crc32((found := name + end).encode()) % 2 == shard)


def _messages(random: Random, scenario: Scenario) -> None:
    for plan in scenario.requests:
        size = random.choice((10, 1_500, 20_000))
        for _ in range(random.randint(1, 12)):
            plan.ops.insert(random.randint(0, len(plan.ops)), large_message(size))


def _queues(random: Random, scenario: Scenario) -> None:
    scenario.window_bytes_max = 8 * 1024
    plan = random.choice(scenario.requests)
    size = random.choice((300, 1_200))
    place = random.randint(0, len(plan.ops))
    plan.ops[place:place] = [("chunk", plan.piece("y" * size)) for _ in range(random.randint(20, 80))]
    plan.settings = _with(plan.settings, buffer_bytes_max=1 << 20)
    _incident(random, scenario, random.choice(("stop_actor", "kill_actor", "stop_router")), seconds=5.0)


def _backlog(random: Random, scenario: Scenario) -> None:
    room_bytes = ACTORS_MAX * random.choice((4, 16)) * 1024
    limits = scenario.config.limits.model_copy(update={"queued_bytes_max": room_bytes})
    scenario.config = scenario.config.model_copy(update={"limits": limits})
    for plan in scenario.requests:
        burst = [("chunk", plan.piece("z" * random.choice((400, 4_000)))) for _ in range(10)]
        place = random.randint(0, len(plan.ops))
        plan.ops[place:place] = [*burst, ("sleep", 0.2)] * random.randint(2, 6)
        plan.settings = _with(plan.settings, buffer_bytes_max=1 << 20)
    kind = random.choice(("stop_actor", "stop_actor", "kill_actor", "kill_router", "stop_router"))
    at_s = min(plan.starts_s for plan in scenario.requests) + random.uniform(0.1, 1.5)
    scenario.incidents.append(Incident(at_s, kind, random.randrange(1000), 5.0))


def _stops(random: Random, scenario: Scenario) -> None:
    plan = random.choice(scenario.requests)
    for _ in range(random.randint(0, 12)):  # so that something is under way when all go on
        plan.ops.insert(random.randint(0, len(plan.ops)), ("sleep", 1.0))
    for _ in range(random.choice((1, 1, 2))):
        kind = random.choice(("stop_actor", "stop_actor", "stop_router", "stop_router", "stop_process"))
        seconds = random.choice((random.uniform(1.0, 20.0), random.uniform(6.5, SLOW_S)))
        _incident(random, scenario, kind, seconds=seconds)


def _double_deaths(random: Random, scenario: Scenario) -> None:
    kind = random.choice(("kill_both", "kill_router_node", "kill_router_node", "stop_and_kill"))
    _incident(random, scenario, kind)
    if random.random() < 0.5:  # when most requests have ended, and late readers come
        at_s = scenario.calm_at_s + random.uniform(0.0, 4.0)
        scenario.incidents.append(
            Incident(at_s, random.choice(("kill_router_node", "kill_router_node", "stop_and_kill")))
        )
        for reader in [reader for plan in scenario.requests for reader in plan.readers if reader.is_late]:
            reader.starts_s = max(reader.starts_s, at_s + 4.0)


def _unplaced(random: Random, scenario: Scenario) -> None:
    scenario.actors_from_s = random.choice((3.0, 12.0, float("inf"), float("inf")))
    for plan in scenario.requests:
        timer = random.choice((None, "request_timeout_s", "first_message_timeout_s"))
        if timer is not None:
            plan.settings = _with(plan.settings, **{timer: random.choice((0.8, 2.5))})
        if random.random() < 0.4:
            plan.cancel_s, plan.cancel_after_step = plan.starts_s + random.uniform(0.2, 2.0), False


def _control(random: Random, scenario: Scenario) -> None:
    pool = {"max_actors": ACTORS_MAX, "warm_actors": 1, "max_streams_per_actor": 50, "idle_ttl_s": 300.0}
    actors = scenario.config.stream_actors.model_copy(update={**pool, "recycle_after_requests": 10_000})
    scenario.config = scenario.config.model_copy(update={"stream_actors": actors})
    if random.random() < 0.7:
        scenario.incidents.clear()
    at_s = random.uniform(1.0, 3.0)
    for plan in scenario.requests:
        plan.starts_s = at_s + random.choice((0.5, 4.0))
        plan.ops[:0] = [("chunk", plan.piece("b")), ("sleep", 0.4)] * 30
    scenario.requests[0].starts_s = 0.0  # a router needs the control store to begin
    scenario.incidents.append(Incident(at_s, "stop_control", seconds=15.0))


def _disk(random: Random, scenario: Scenario) -> None:
    begins_s = random.uniform(0.0, 2.0)
    fault = random.choice(("full", "full", "unreadable"))
    scenario.disk = DiskTrouble(fault, begins_s, begins_s + random.choice((0.5, 4.0)))
    scenario.set_replay_bytes_max(random.choice((1, 500)))
    _incident(random, scenario, random.choice(("kill_actor", "kill_router")))


def _hostile(random: Random, scenario: Scenario) -> None:
    for _ in range(random.randint(2, 8)):
        scenario.hostile.append((random.uniform(0.0, scenario.calm_at_s), random.randrange(scenario.processes)))


def _abandoned(random: Random, scenario: Scenario) -> None:
    for plan in scenario.requests:
        for reader in plan.readers:
            if not reader.is_late and random.random() < 0.7:
                reader.leaves_after = random.randint(1, 3)
        if random.random() < 0.5:
            plan.settings = _with(plan.settings, buffer_bytes_max=400)


def _reopens(random: Random, scenario: Scenario) -> None:
    number = random.randrange(scenario.processes)
    for plan in scenario.requests:
        late = [reader for reader in plan.readers if reader.is_late]
        plan.readers = [ReaderPlan(number, 0.0, reopens_every=1), ReaderPlan(number, 0.0, pause_s=0.05), *late]
        place = random.randint(0, len(plan.ops))
        plan.ops[place:place] = [("chunk", plan.piece("c" * 100)), ("sleep", 0.2)] * random.randint(10, 40)
        plan.settings = _with(plan.settings, buffer_bytes_max=random.choice((400, 1_500)))


def _closes(random: Random, scenario: Scenario) -> None:
    number = random.randrange(scenario.processes)
    scenario.closes.append(Close(random.uniform(0.0, scenario.calm_at_s), number))


def _rivals(random: Random, scenario: Scenario) -> None:
    for plan in scenario.requests:
        where = random.choice((plan.process, random.randrange(scenario.processes)))
        plan.rival = Rival(where, plan.starts_s + random.choice((0.0, 0.0, 0.001, 0.3)))


def _take_overs(random: Random, scenario: Scenario) -> None:
    plan = random.choice(scenario.requests)
    others = [number for number in range(scenario.processes) if number != plan.process]
    if others:
        plan.successor = random.choice(others)
        died_at_s = plan.starts_s + random.uniform(0.1, 1.0)
        scenario.incidents.append(Incident(died_at_s, "kill_process", plan.process))
        at_s = died_at_s + GIVEN_UP_AFTER_S + random.uniform(-2.0, 4.0)
        scenario.incidents.append(Incident(at_s, "kill_router"))
    plan.cancel_s = plan.starts_s + random.uniform(0.3, 2.0) if plan.cancel_s is None else plan.cancel_s
    scenario.incidents.append(Incident(plan.cancel_s - random.uniform(0.0, 0.2), "kill_router"))


def _sockets(random: Random, scenario: Scenario) -> None:
    scenario.config = scenario.config.model_copy(update={"transport": "auto"})
    for _ in range(random.choice((0, 1, 4))):
        _incident(random, scenario, "pull_sockets")
    if random.random() < 0.5:
        _incident(random, scenario, random.choice(("kill_actor", "kill_router", "stop_actor", "stop_router")), 5.0)
    is_network = random.random() < 0.5
    gather_ms = random.choice((0.0, 5.0, 100.0))
    if is_network or gather_ms:
        network = scenario.config.network.model_copy(update={"enabled": True})
        scenario.config = scenario.config.model_copy(update={"network": network})
    if gather_ms:
        subscriber = scenario.config.subscriber.model_copy(update={"gather_ms": gather_ms})
        scenario.config = scenario.config.model_copy(update={"subscriber": subscriber})
        for plan in scenario.requests:  # what comes soon after an answer waits for more
            place = random.randint(0, len(plan.ops))
            plan.ops[place:place] = [("chunk", plan.piece("g")), ("sleep", random.uniform(0.002, 0.05))] * 40


def _clocks(random: Random, scenario: Scenario) -> None:
    _agents(random, scenario)
    first = min(scenario.requests, key=lambda plan: plan.starts_s)
    for _ in range(random.randint(1, 3)):
        at_s = first.starts_s + random.uniform(0.1, 2.0)
        scenario.clock_jumps.append((at_s, random.choice((-1.0, 1.0)) * random.choice((0.5, 60.0, DAY_S))))
        if random.random() < 0.5:
            _incident(random, scenario, "kill_router", at_s=at_s + random.uniform(0.0, 0.5))
    if random.random() < 0.5:
        # Who holds the agent is not heard while the router that granted it begins again.
        first.ops[:0] = [("chunk", first.piece("c")), ("sleep", 0.3)] * 10
        scenario.incidents.append(Incident(at_s - random.uniform(0.0, 0.3), "stop_process", first.process, 20.0))
        if random.random() < 0.5:
            # Nor while the one that has granted it to another meanwhile does; and nobody has its messages any more.
            _incident(random, scenario, "kill_router", at_s=at_s)
            _incident(random, scenario, "kill_actor", at_s=at_s)
            _incident(random, scenario, "kill_router", at_s=at_s + random.uniform(15.0, 19.0))


def _forgets(random: Random, scenario: Scenario) -> None:
    for plan in scenario.requests:
        if random.random() < 0.7:
            plan.forget_s = plan.starts_s + random.choice((0.0, random.uniform(0.0, scenario.calm_at_s + 6.0)))
            plan.is_published_anew = plan.agent_id is None and random.random() < 0.4
    if random.random() < 0.5:
        at_s = scenario.calm_at_s + random.uniform(-1.0, 2.0)
        _incident(random, scenario, random.choice(("kill_router", "stop_actor", "kill_actor")), 5.0, at_s)


def _tenants(_random: Random, scenario: Scenario) -> None:
    tenants = scenario.config.tenants.model_copy(update={"enabled": True})
    scenario.config = scenario.config.model_copy(update={"tenants": tenants})


def _incident(random: Random, scenario: Scenario, kind: str, seconds: float = 0.0, at_s: float | None = None) -> None:
    at_s = random.uniform(0.2, max(1.0, scenario.calm_at_s)) if at_s is None else max(0.0, at_s)
    scenario.incidents.append(Incident(at_s, kind, random.randrange(1000), seconds))


def _with(settings: StreamSettings, **changes: object) -> StreamSettings:
    return settings.model_copy(update=changes)


_DRAWN: dict[Feature, tuple[float, Callable[[Random, Scenario], None]]] = {
    Feature.AGENTS: (0.10, _agents),
    Feature.MESSAGES: (0.20, _messages),
    Feature.QUEUES: (0.06, _queues),
    Feature.BACKLOG: (0.08, _backlog),
    Feature.STOPS: (0.12, _stops),
    Feature.DOUBLE_DEATHS: (0.12, _double_deaths),
    Feature.UNPLACED: (0.06, _unplaced),
    Feature.CONTROL: (0.06, _control),
    Feature.DISK: (0.10, _disk),
    Feature.HOSTILE: (0.15, _hostile),
    Feature.ABANDONED: (0.12, _abandoned),
    Feature.REOPENS: (0.06, _reopens),
    Feature.CLOSES: (0.10, _closes),
    Feature.RIVALS: (0.08, _rivals),
    Feature.TAKE_OVERS: (0.08, _take_overs),
    Feature.SOCKETS: (0.30, _sockets),
    Feature.FORGETS: (0.12, _forgets),
    Feature.TENANTS: (0.08, _tenants),
    Feature.SHARDS: (0.08, _shards),
    Feature.CLOCKS: (0.05, _clocks),
}


def add(scenario: Scenario, seed: int, features: frozenset[Feature], *, surely: bool = False) -> None:
    """Add to a seed's scenario what the features draw for it; `surely`: each of them, whatever its chance."""
    for feature, (chance, draw) in _DRAWN.items():
        if feature in features:
            if scenario.has_agents_router and feature in (Feature.HOSTILE, Feature.TENANTS):
                continue  # their requests might belong to the second router
            random = Random(f"{feature} {seed}")
            if random.random() < chance or surely:
                scenario.features |= {feature}
                draw(random, scenario)
    scenario.settle()
