"""What a router actor tells of itself, as plain data: its stream actors, its requests, its counters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from router.config import RouterConfig
from router.core.lifecycle import ROUTER_ITSELF
from router.core.registry import Registry


def of_router(
    registry: Registry,
    config: RouterConfig,
    shard: int,
    unknown_events: Mapping[str, Mapping[str, int]],
    *,
    pid: int,
    node_id: str,
) -> dict[str, Any]:
    """Describe one router actor. `unknown_events`: what its stream actors said, by actor; see `Fleet`."""
    return {
        "router": {
            "actor_id": config.router_name(shard),
            "pid": pid,
            "node_id": node_id,
            "state": "draining" if registry.admission.draining else "ready",
            "open_requests": registry.requests.live_count,
            "counts": dict(registry.counts),
            "ended_by": dict(registry.ended_by),
            "refused_by": dict(registry.refused_by),
            "ignored_by": dict(registry.ignored_by),
            "clients": len(registry.clients),
        },
        "stream_actors": [
            {
                "actor_id": config.stream_actor_name(shard, slot.actor_id),
                "pid": slot.pid,
                "node_id": slot.node_id,
                "state": slot.state.value,
                "open_requests": slot.load,
                "served": slot.served,
                "unknown_events": unknown_events.get(slot.actor_id, {}),
            }
            for slot in registry.pool.slots.values()
        ],
        "requests": [
            {
                "request_id": request.request_id,
                "state": request.phase.value,
                "actor_id": _holder_name(config, shard, request.actor_id),
                "epoch": request.epoch,
                "stop_reason": request.stop_reason,
                "last_seq_id": request.last_seq_id,
                "agent_id": request.agent_id,
                "waits_for": request.waits_for,
            }
            for request in registry.requests.values()
        ],
    }


def _holder_name(config: RouterConfig, shard: int, actor_id: str | None) -> str | None:
    if actor_id is None:
        return None
    if actor_id == ROUTER_ITSELF:
        return config.router_name(shard)
    return config.stream_actor_name(shard, actor_id)
