"""What happens in one run, all of it drawn from the seed before the run begins."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import Any

from actors.settings import StreamSettings
from router.config import RouterConfig

from .features import NONE, Feature
from .network import Weather

Op = tuple[str, Any]
"""What a publisher says: ("chunk", payload), ("message", body), ("step_end", None), ("sleep", seconds)."""

NEVER_S = float("inf")


@dataclass
class ReaderPlan:
    process: int
    starts_s: float
    pause_s: float = 0.0
    reopens_every: int = 0
    moves_to: int | None = None  # goes on in another process, should this one die
    is_late: bool = False
    leaves_after: int = 0  # batches, then it breaks out of its loop and never comes back


@dataclass
class Rival:
    """A second publisher of a request."""

    process: int
    at_s: float


@dataclass
class Close:
    """A process closes its `StreamRouter`."""

    at_s: float
    process: int


@dataclass
class DiskTrouble:
    """What goes wrong with the spill files of all processes, from when to when."""

    fault: str
    from_s: float
    until_s: float


@dataclass
class RequestPlan:
    request_id: str
    settings: StreamSettings
    ops: list[Op]
    process: int
    starts_s: float
    readers: list[ReaderPlan]
    successor: int | None = None  # the process that takes over, should this one die
    cancel_s: float | None = None
    cancel_after_step: bool = False
    agent_id: str | None = None
    when_busy: str = "reject"
    rival: Rival | None = None
    forget_s: float | None = None
    is_published_anew: bool = False  # once all have read it, and it was forgotten

    @staticmethod
    def piece(text: str) -> bytes:
        """Return a chunk of plain text."""
        return _chunk(text)

    @cached_property
    def item_bytes_max(self) -> int:
        """How large its largest item is, about."""
        return max(self._item_sizes, default=0)

    @cached_property
    def items_bytes(self) -> int:
        """How large its items are in all, about."""
        return sum(self._item_sizes)

    @property
    def _item_sizes(self) -> list[int]:
        return [
            len(body) if kind == "chunk" else len(json.dumps(body or {})) for kind, body in self.ops if kind != "sleep"
        ]

    def crawls_s(self, weather: Weather) -> float:
        """How long it takes where an item must have crossed to its reader, and been acknowledged, before the next.

        Each way has three hops: publisher, router, stream actor, reader.
        """
        is_one_by_one = self.settings.when_full == "wait" and self.settings.buffer_bytes_max < 2 * self.item_bytes_max
        return len(self._item_sizes) * 6 * sum(weather.latency_s) / 2 if is_one_by_one else 0.0

    @property
    def sleeps_s(self) -> float:
        """How long its publisher sleeps of its own accord."""
        return sum(value for kind, value in self.ops if kind == "sleep")


@dataclass
class Incident:
    at_s: float
    kind: str
    what: int = 0
    seconds: float = 0.0


@dataclass
class Scenario:
    config: RouterConfig
    weather: Weather
    calm_at_s: float
    processes: int
    requests: list[RequestPlan]
    incidents: list[Incident] = field(default_factory=list)
    watches_leaks: bool = False
    is_calm: bool = False
    quiet_at_s: float = 0.0
    lingers: bool = False
    is_harsh: bool = False  # so many calls fail that a living process may be taken for gone
    features: frozenset[Feature] = NONE
    window_bytes_max: int | None = None
    has_agents_router: bool = False  # a second router, which holds claims and no request
    actors_from_s: float = 0.0  # no stream actor starts before
    disk: DiskTrouble | None = None
    hostile: list[tuple[float, int]] = field(default_factory=list)
    closes: list[Close] = field(default_factory=list)
    clock_jumps: list[tuple[float, float]] = field(default_factory=list)  # when, and by how much

    def settle(self) -> None:
        """Work out when the last fault is over; to be called when all is drawn."""
        ends_s = [i.at_s + i.seconds for i in self.incidents if i.kind.startswith(("cut", "stop"))]
        ends_s += [i.at_s for i in self.incidents] + [close.at_s for close in self.closes]
        ends_s += [at_s for at_s, _ in self.clock_jumps]
        ends_s += [self.disk.until_s] if self.disk is not None else []
        ends_s += [self.actors_from_s] if self.actors_from_s < NEVER_S else []
        self.quiet_at_s = max([self.calm_at_s, *ends_s])
        self.is_calm = not self.weather.drop and not self.incidents and not self.features

    def set_replay_bytes_max(self, bytes_max: int) -> None:
        """Let publishers keep no more than so much in memory."""
        publisher = self.config.publisher.model_copy(update={"replay_bytes_max": bytes_max})
        self.config = self.config.model_copy(update={"publisher": publisher})


def _chunk(text: str, finish: str | None = None) -> bytes:
    delta = {"content": text} if text else {}
    return json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}).encode()


def _tool_chunk(index: int, name: str | None, arguments: str) -> bytes:
    call: dict[str, Any] = {"index": index, "function": {"arguments": arguments}}
    if name is not None:
        call["id"] = f"call-{index}-{name}"
        call["type"] = "function"
        call["function"]["name"] = name
    return json.dumps({"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]}).encode()


def large_message(size: int) -> Op:
    """Return a tool's return of about so many bytes."""
    body = {"message_type": "tool_return_message", "tool_return": "r" * size, "status": "success"}
    return "message", {**body, "tool_call_id": "call-0-look"}


def _ops(random: Random, *, pace_s: float, piece_max: int) -> list[Op]:
    ops: list[Op] = []
    for step in range(random.choice((1, 1, 1, 2))):
        for number in range(random.randint(1, 14)):
            size = random.randint(1, piece_max)
            ops.append(("chunk", _chunk(f"{step}.{number}:" + "x" * size)))
            if pace_s:
                ops.append(("sleep", random.uniform(0, 2 * pace_s)))
        if random.random() < 0.3:
            ops.append(("chunk", _tool_chunk(0, "look", '{"where": "')))
            ops.append(("chunk", _tool_chunk(0, None, 'everywhere"}')))
        if random.random() < 0.15:
            ops.append(("chunk", b"{not json"))
        ops.append(("chunk", _chunk("", "stop")))
        if random.random() < 0.3:
            body = {"message_type": "tool_return_message", "tool_return": "found", "status": "success"}
            ops.append(("message", {**body, "tool_call_id": "call-0-look"}))
        if random.random() < 0.7:
            ops.append(("step_end", None))
    return ops


def _settings(random: Random) -> tuple[dict[str, Any], int]:
    """Return the settings of one request and the largest piece it sends."""
    chosen: dict[str, Any] = {
        "dialect": random.choice(("chat", "chat", "chat", "letta")),
        "request_timeout_s": 600.0,
        "stall_timeout_s": 100.0,
        "first_message_timeout_s": 120.0,
        "publisher_grace_s": random.choice((0.5, 3.0, 8.0)),
        "sealed_ttl_s": random.choice((12.0, 40.0)),
        "multi_step": random.random() < 0.85,
    }
    piece_max = random.choice((3, 20, 20, 400))
    kind = random.random()
    if kind < 0.25:
        chosen["buffer_bytes_max"] = random.choice((400, 1500, 6000))
        piece_max = random.choice((400, 1500))
    elif kind < 0.32:
        chosen |= {"buffer_bytes_max": 1500, "when_full": "drop_oldest"}
        piece_max = 600
    elif kind < 0.38:
        chosen |= {"buffer_bytes_max": 1500, "when_full": "fail"}
        piece_max = 1500
    elif kind < 0.44:
        chosen["retain_bytes_max"] = 600
        piece_max = 300
    elif kind < 0.56:
        timer = random.choice(
            ("request_timeout_s", "stall_timeout_s", "first_message_timeout_s", "idle_reader_timeout_s")
        )
        chosen[timer] = random.choice((0.8, 2.5))
    return chosen, piece_max


INCIDENTS = (
    ("kill_actor", 6),
    ("kill_router", 5),
    ("kill_process", 4),
    ("kill_node", 2),
    ("stop_actor", 3),
    ("stop_router", 2),
    ("stop_process", 2),
    ("cut", 3),
    ("cut_actor", 3),
)


def draw(seed: int, *, roughness: float | None = None, incident: str | None = None, lingers: bool = False) -> Scenario:
    """Return the scenario of a seed.

    `roughness`: the share of calls that fail, if it is not to be drawn. `incident`: one that happens
    besides, early and for long. `lingers`: every stream actor that is given up lives on for a while, and speaks.
    """
    random = Random(f"scenario {seed}")
    max_actors = random.choice((1, 2, 2, 3))
    config = RouterConfig.model_validate(
        {
            "transport": "ray",  # simulated, as all of Ray
            "stream_actors": {
                "max_actors": max_actors,
                "warm_actors": random.randint(0, max_actors),
                "packed_streams_per_actor": Random(f"packed {seed}").choice((1, 1, 2, 50)),
                "max_streams_per_actor": random.choice((1, 2, 50, 50)),
                "when_pool_full": random.choice(("wait", "wait", "refuse")),
                "open_timeout_s": random.choice((4.0, 30.0)),
                "idle_ttl_s": random.choice((2.0, 300.0)),
                "recycle_after_requests": random.choice((2, 10_000)),
            },
            "limits": {"open_requests_max": random.choice((3, 20_000))},
            "publisher": {"replay_bytes_max": random.choice((1_000, 1 << 20))},
        }
    )
    rough = random.choice((0.0, 0.0, 0.02, 0.08))
    rough = rough if roughness is None else roughness
    weather = Weather(
        latency_s=random.choice(((0.0005, 0.004), (0.0005, 0.004), (0.001, 0.3))),
        drop=rough,
        lose_answer=rough,
        duplicate=rough,
        late=rough / 2,
    )
    calm_at_s = random.uniform(1.0, 8.0)
    processes = random.randint(1, 3)
    count = random.choice((1, 1, 2, 2, 3, 4))
    requests = [_request(random, number, processes, calm_at_s) for number in range(count)]
    scenario = Scenario(config, weather, calm_at_s, processes, requests)
    kinds = [kind for kind, weight in INCIDENTS for _ in range(weight)]
    for _ in range(random.choice((0, 1, 1, 1, 2, 2, 3))):
        scenario.incidents.append(
            Incident(
                random.uniform(0.0, calm_at_s),
                random.choice(kinds),
                random.randrange(1000),
                random.choice((0.2, 1.0, 5.0, 14.0)),
            )
        )
    if incident is not None:
        scenario.incidents.append(Incident(random.uniform(0.2, 1.5), incident, random.randrange(1000), 14.0))
    scenario.lingers = lingers
    scenario.is_harsh = rough > 0.1
    scenario.watches_leaks = random.random() < 0.15
    scenario.settle()
    return scenario


def _request(random: Random, number: int, processes: int, calm_at_s: float) -> RequestPlan:
    settings, piece_max = _settings(random)
    pace_s = random.choice((0.0, 0.0, 0.01, 0.1, 0.4))
    ops = _ops(random, pace_s=pace_s, piece_max=piece_max)
    readers = []
    for _ in range(random.choice((0, 1, 1, 2))):
        mine = random.randrange(processes)
        readers.append(
            ReaderPlan(
                mine,
                random.choice((0.0, 0.0, 1.0, 4.0)),
                random.choice((0.0, 0.0, 0.0, 0.05, 0.5)),
                random.choice((0, 0, 0, 1, 3)),
                random.choice((None, random.randrange(processes))),
            )
        )
    readers.append(ReaderPlan(-1, random.choice((0.0, 1.0, 6.0)), is_late=True))
    plan = RequestPlan(
        f"request-{number}",
        StreamSettings.model_validate(settings),
        ops,
        random.randrange(processes),
        random.choice((0.0, 0.0, 0.5, 2.0)),
        readers,
    )
    if random.random() < 0.5:
        plan.successor = random.randrange(processes)
    if random.random() < 0.2:
        plan.cancel_s = plan.starts_s + random.uniform(0.0, 3.0)
        plan.cancel_after_step = random.random() < 0.3
    if random.random() < 0.25:
        plan.agent_id = "agent"
        plan.when_busy = random.choice(("reject", "queue", "interrupt"))
    return plan


def tags_of(request_id: str) -> dict[str, str]:
    """Return the tags that a request is published with."""
    return {"request": request_id}
