"""The product's metrics: their names, and how they reach Prometheus through `ray.util.metrics`.

The cores count (`actors/stream/measures.py`, `Registry.counts`); every `metrics.interval_s` each router
actor looks at its own counts and at those of its stream actors, and hands Ray what has been added
since. Nothing is done per chunk or per message. Stream actors hand over nothing themselves, so the
number of series does not grow with the number of actors, and never with requests: tags are the
router's name, its shard, a provider, a reason, a state, and each comes from a fixed set of words;
models and agents are as many as the configuration allows (`spending.py`).

Ray puts `ray_` before each name and `_total` behind a counter's. The metrics are seen where Ray runs
its metrics agent, which needs `ray[default]`; without it, handing them over costs a little and does
nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from actors.errors import ERRORS_BY_CODE
from actors.protocol.states import RequestPhase
from actors.stop_reasons import StopReason
from actors.stream.measures import FIRST_MESSAGE_BOUNDS_S
from router.core.registry import Registry

PREFIX = "stream_router_"
DELIVERY_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
OTHER = "other"
"""The tag of a word that is not one of ours: publishers may give stop reasons of their own."""

STREAM_ACTOR, ROUTER = "stream_actor", "router"
_ACTOR_STATES = ("starting", "ready", "retiring")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. Every one also has the tags `router` and `shard`."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    description: str
    tags: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()

    @property
    def tag_keys(self) -> tuple[str, ...]:
        """All tags, `router` and `shard` first."""
        return ("router", "shard", *self.tags)

    @property
    def prometheus_name(self) -> str:
        """The name under which Prometheus gets it (of a histogram: `_bucket`, `_sum` and `_count` follow)."""
        return f"ray_{self.name}_total" if self.kind == "counter" else f"ray_{self.name}"


def _metric(name: str, kind: Any, description: str, *tags: str, bounds: tuple[float, ...] = ()) -> Metric:
    return Metric(PREFIX + name, kind, description, tags, bounds)


METRICS: dict[str, Metric] = {
    metric.name.removeprefix(PREFIX): metric
    for metric in (
        _metric("opens", "counter", "Requests opened."),
        _metric("terminals", "counter", "Requests ended, by stop reason.", "reason"),
        _metric("refused", "counter", "Opens refused, by the code of the error.", "reason"),
        _metric("replays", "counter", "Open requests placed anew because their stream actor was gone."),
        _metric("restarts", "counter", "Stream actors and router actors that died and were replaced.", "reason"),
        _metric("chunks", "counter", "Chunks and records taken in; after a crash they count again.", "provider"),
        _metric("chunk_bytes", "counter", "Bytes of those chunks.", "provider"),
        _metric("messages", "counter", "Messages made of them.", "provider"),
        _metric("unknown_events", "counter", "What providers sent that no adapter understood, by its kind.", "kind"),
        _metric("credit_waits", "counter", "Times a publisher had to wait because its readers were behind."),
        _metric("tokens", "counter", "Tokens of ended requests, as providers counted them.", "model", "kind"),
        _metric("agent_tokens", "counter", "The same by agent.", "agent", "kind"),
        _metric("cost_dollars", "counter", "What they cost, by the prices in the configuration.", "agent"),
        _metric("requests", "gauge", "Requests known, by state: waiting for a place, open, sealed.", "state"),
        _metric("stream_actors", "gauge", "Stream actors by state.", "state"),
        _metric(
            "lines",
            "gauge",
            "Stream actors by what carries calls to them: ray, local, network.",
            "transport",
        ),
        _metric("clients", "gauge", "Processes that publish or read here."),
        _metric("readers", "gauge", "Reading processes, counted once for each stream actor they poll."),
        _metric("held_bytes", "gauge", "Messages held in stream actors."),
        _metric("unread_bytes", "gauge", "Those of open requests that some reader has not consumed."),
        _metric("lag_messages_max", "gauge", "Messages by which the slowest reader of any open request is behind."),
        _metric(
            "first_message_seconds",
            "histogram",
            "From the opening of a request to its first message, the provider's time included.",
            "provider",
            bounds=FIRST_MESSAGE_BOUNDS_S,
        ),
        _metric(
            "delivery_seconds",
            "histogram",
            "What the router adds: from the arrival of a frame's first envelope to the stream actor's answer.",
            bounds=DELIVERY_BOUNDS_S,
        ),
    )
}


class Sample(NamedTuple):
    """A look at one metric. `value`: a counter's total, a gauge's level, or a histogram's [counts, sums]."""

    name: str
    value: Any
    tags: Mapping[str, str] = {}


def of_registry(registry: Registry) -> list[Sample]:
    """Return what a router's registry knows."""
    counts = registry.counts
    shown = (RequestPhase.WAITING, RequestPhase.OPEN, RequestPhase.SEALED)
    phases = {phase.value: registry.requests.count(phase) for phase in shown}
    states = dict.fromkeys(_ACTOR_STATES, 0)
    for slot in registry.pool.slots.values():
        states[slot.state.value] += 1
    return [
        Sample("opens", counts["opened"]),
        Sample("replays", counts["restarted"]),
        *_by_word("terminals", registry.ended_by, StopReason),
        *_by_word("refused", registry.refused_by, ERRORS_BY_CODE),
        *(Sample("requests", count, {"state": phase}) for phase, count in phases.items()),
        *(Sample("stream_actors", count, {"state": state}) for state, count in states.items()),
        Sample("clients", len(registry.clients)),
    ]


def of_transports(transports: Iterable[str]) -> list[Sample]:
    """Return how many stream actors are reached by each means."""
    used = Counter(transports)
    return [Sample("lines", used[means], {"transport": means}) for means in ("ray", "local", "network")]


def _by_word(name: str, counts: Mapping[str, int], known: Iterable[str]) -> list[Sample]:
    words = set(known)
    totals: dict[str, int] = {}
    for word, count in counts.items():
        tag = word if word in words else OTHER
        totals[tag] = totals.get(tag, 0) + count
    return [Sample(name, count, {"reason": str(word)}) for word, count in totals.items()]


def of_stream_actor(look: Mapping[str, Any]) -> list[Sample]:
    """Return the counters and histograms in what `StreamActor.measure` gave."""
    samples = [Sample("credit_waits", look["credit_waits"])]
    samples += [Sample("unknown_events", count, {"kind": kind}) for kind, count in look["unknown"].items()]
    for provider, (chunks, chunk_bytes, messages, first_message_s) in look["providers"].items():
        tags = {"provider": provider}
        samples += [
            Sample("chunks", chunks, tags),
            Sample("chunk_bytes", chunk_bytes, tags),
            Sample("messages", messages, tags),
            Sample("first_message_seconds", first_message_s, tags),
        ]
    return samples


def of_all_stream_actors(looks: Iterable[Mapping[str, Any]]) -> list[Sample]:
    """Return the gauges of all stream actors of a router together."""
    seen = list(looks)
    return [
        Sample("readers", sum(look["readers"] for look in seen)),
        Sample("held_bytes", sum(look["bytes_held"] for look in seen)),
        Sample("unread_bytes", sum(look["unread_bytes"] for look in seen)),
        Sample("lag_messages_max", max((look["lag_max"] for look in seen), default=0)),
    ]


class Instrument(Protocol):
    """A metric of `ray.util.metrics`, whichever kind it is."""

    def inc(self, value: float, tags: dict[str, str]) -> None:
        """Add to a counter."""
        ...

    def set(self, value: float, tags: dict[str, str]) -> None:
        """Set a gauge."""
        ...

    def observe(self, value: float, tags: dict[str, str]) -> None:
        """Add a value to a histogram."""
        ...


class MakeInstrument(Protocol):
    """Makes the instrument of a metric."""

    def __call__(self, metric: Metric) -> Instrument:
        """Return a new one."""
        ...


def ray_instrument(metric: Metric) -> Any:
    """Return the metric as Ray has it."""
    from ray.util import metrics  # noqa: PLC0415  # not needed where metrics are only looked at

    if metric.kind == "counter":
        return metrics.Counter(metric.name, metric.description, metric.tag_keys)
    if metric.kind == "gauge":
        return metrics.Gauge(metric.name, metric.description, metric.tag_keys)
    return metrics.Histogram(metric.name, metric.description, list(metric.bounds), metric.tag_keys)


@dataclass(slots=True)
class Exporter:
    """Hands samples over to Ray: of totals, what has been added since the last time."""

    router: str
    shard: int
    make: MakeInstrument = ray_instrument
    _instruments: dict[str, Instrument] = field(default_factory=dict)
    _seen: dict[str, dict[tuple[Any, ...], Any]] = field(default_factory=dict)

    def take(self, samples: Iterable[Sample], source: str = "", *, only_note: bool = False) -> None:
        """Hand over samples. Totals are compared with the last ones of the same source.

        `only_note`: take the totals as the point to count from, and hand nothing over; another
        process has handed those over already.
        """
        seen = self._seen.setdefault(source, {})
        for sample in samples:
            metric = METRICS[sample.name]
            tags = {"router": self.router, "shard": str(self.shard), **sample.tags}
            key = (sample.name, *sample.tags.values())
            if metric.kind == "gauge":
                if not only_note:
                    self._instrument(metric).set(sample.value, tags)
                continue
            before = seen.get(key)
            seen[key] = sample.value
            if only_note:
                continue
            if metric.kind == "counter":
                added = sample.value - (before or 0)
                if added > 0:
                    self._instrument(metric).inc(added, tags)
            else:
                self._observe(self._instrument(metric), sample.value, before, tags)

    @staticmethod
    def _observe(instrument: Instrument, now: Any, before: Any, tags: dict[str, str]) -> None:
        # Ray takes single values only: each bucket's mean stands for what came into it.
        counts, sums = now
        for bucket, total in enumerate(counts):
            count = total - (before[0][bucket] if before else 0)
            if count > 0:
                mean = (sums[bucket] - (before[1][bucket] if before else 0.0)) / count
                for _ in range(count):
                    instrument.observe(mean, tags)

    def forget_all_but(self, sources: Container[str]) -> None:
        """Forget the totals of sources that are gone."""
        for gone in [source for source in self._seen if source and source not in sources]:
            del self._seen[gone]

    def _instrument(self, metric: Metric) -> Instrument:
        found = self._instruments.get(metric.name)
        if found is None:
            found = self._instruments[metric.name] = self.make(metric)
        return found
