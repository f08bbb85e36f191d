"""A router actor's observer: notes become log lines and spans, counts become metrics.

It only observes: it decides nothing, and a failure here fails no request.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from actors.stream.measures import Histogram
from actors.tenants import shown_name
from actors.tracing import log_fields
from router.config import RouterConfig
from router.core.effects import CANCELLED, ENDED, FORGOTTEN, MOVED, OPENED, PLACED, REFUSED, Note
from router.core.registry import Registry
from router.status import metrics
from router.status.metrics import Exporter, Sample
from router.status.spending import Spending
from router.status.tracing import Spans

log: logging.Logger = logging.getLogger("router.observer")

_LEVELS = {
    OPENED: logging.INFO,
    PLACED: logging.DEBUG,
    MOVED: logging.WARNING,
    CANCELLED: logging.INFO,
    ENDED: logging.INFO,
    FORGOTTEN: logging.INFO,
    REFUSED: logging.INFO,
}


class Observer:
    """Observes one router actor."""

    def __init__(self, config: RouterConfig, shard: int) -> None:
        self._place = {"router": config.name, "shard": shard}
        self._exporter = Exporter(config.name, shard)
        self._delivery_s = Histogram(metrics.DELIVERY_BOUNDS_S)
        self._restarts = {metrics.STREAM_ACTOR: 0, metrics.ROUTER: 0}
        self._adopted: set[str] = set()
        self._spending = Spending(config.metrics)
        self._has_tenants = config.tenants.enabled
        setup = config.tracing.setup
        self._spans = Spans.set_up(setup, config.name, shard) if setup else None

    def take(self, notes: Sequence[Note]) -> None:
        """Write what happened to requests into the log and into spans."""
        if self._has_tenants:
            notes = [replace(note, request_id=shown_name(note.request_id)) for note in notes]
        for note in notes:
            level = logging.ERROR if note.detail == "lost" and note.kind == ENDED else _LEVELS[note.kind]
            if log.isEnabledFor(level):
                extra = {**self._place, "event": note.kind, "request_id": note.request_id, "epoch": note.epoch}
                extra |= log_fields(note.traceparent)
                detail = f" ({note.detail})" if note.detail else ""
                what = (note.request_id, note.epoch, note.kind, detail)
                log.log(level, "request %s, epoch %d: %s%s", *what, extra=extra)
        if self._spans is not None:
            self._spans.take(notes)

    def delivered(self, seconds: float) -> None:
        """Count how long a frame took from its first envelope's arrival to the stream actor's answer."""
        self._delivery_s.observe(seconds)

    def router_restarted(self) -> None:
        """Count that this router actor has lost its memory."""
        self._restarts[metrics.ROUTER] += 1

    def actor_adopted(self, actor_id: str) -> None:
        """Remember that an earlier incarnation has handed over this actor's totals so far."""
        self._adopted.add(actor_id)

    def actor_lost(self) -> None:
        """Count that a stream actor was lost."""
        self._restarts[metrics.STREAM_ACTOR] += 1

    def export(
        self, registry: Registry, looks: Mapping[str, Mapping[str, Any]], transports: Iterable[str] = ()
    ) -> None:
        """Hand all metrics to Ray; `looks`: the last answer of each stream actor's `measure`.

        `transports`: what carries the calls to each.
        """
        exporter = self._exporter
        exporter.take(metrics.of_registry(registry))
        exporter.take([Sample("restarts", count, {"reason": what}) for what, count in self._restarts.items()])
        exporter.take([Sample("delivery_seconds", self._delivery_s.totals())])
        exporter.take(metrics.of_all_stream_actors(looks.values()))
        exporter.take(metrics.of_transports(transports))
        for actor_id, look in looks.items():
            samples = [*metrics.of_stream_actor(look), *self._spending.samples(look)]
            exporter.take(samples, actor_id, only_note=actor_id in self._adopted)
            self._adopted.discard(actor_id)
        exporter.forget_all_but(registry.pool.slots)

    def close(self) -> None:
        """Send the spans that were not sent yet."""
        if self._spans is not None:
            self._spans.close()
