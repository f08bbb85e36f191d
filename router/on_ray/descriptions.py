"""What a router actor tells of itself, as plain data: its stream actors, its requests, its counters."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from actors.tenants import PLAIN, Names
from router.config import RouterConfig
from router.core.lifecycle import ROUTER_ITSELF
from router.core.registry import Registry
from router.status.overview import Own, totals


def of_router(
    registry: Registry,
    config: RouterConfig,
    shard: int,
    unknown_events: Mapping[str, Mapping[str, int]],
    *,
    pid: int,
    node_id: str,
    names: Names = PLAIN,
    transports: Mapping[str, tuple[str, str]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Describe one router actor. `unknown_events`, `transports`: of its stream actors, by actor; see `Fleet`.

    `names`: of the caller, who is told of the requests that have one among them. Of a team the counters are those of
    its own requests that are known now, and the stream actors those that hold them.
    """
    seen = [request for request in registry.requests.values() if names.sees(request.request_id)]
    own = None if names.sees_all else Own(seen)
    return {
        "router": {
            "actor_id": config.router_name(shard),
            "pid": pid,
            "node_id": node_id,
            "state": "draining" if registry.admission.draining else "ready",
            "open_requests": registry.requests.live_count if own is None else own.live_count,
            **totals(registry, own),
            "ignored_by": dict(registry.ignored_by) if own is None else {},
        },
        "stream_actors": [
            {
                "actor_id": config.stream_actor_name(shard, slot.actor_id),
                "pid": slot.pid,
                "node_id": slot.node_id,
                "state": slot.state.value,
                "open_requests": slot.load if own is None else own.open_on.get(slot.actor_id, 0),
                "served": slot.served if own is None else own.held_by[slot.actor_id],
                "unknown_events": unknown_events.get(slot.actor_id, {}) if own is None else {},
                **dict(zip(("transport", "transport_why"), transports.get(slot.actor_id, ("ray", "")), strict=True)),
            }
            for slot in registry.pool.slots.values()
            if own is None or slot.actor_id in own.held_by
        ],
        "requests": [
            {
                "request_id": names.own(request.request_id),
                "state": request.phase.value,
                "actor_id": _holder_name(config, shard, request.actor_id),
                "epoch": request.epoch,
                "stop_reason": request.stop_reason,
                "last_seq_id": request.last_seq_id,
                "agent_id": None if request.agent_id is None else names.own(request.agent_id),
                "waits_for": request.waits_for,
            }
            for request in seen
        ],
    }


def _holder_name(config: RouterConfig, shard: int, actor_id: str | None) -> str | None:
    if actor_id is None:
        return None
    if actor_id == ROUTER_ITSELF:
        return config.router_name(shard)
    return config.stream_actor_name(shard, actor_id)
