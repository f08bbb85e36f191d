"""What is left of a simulated world when all is over: of its requests nothing, and no error that nobody caught."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ray.exceptions import RayError

from .network import Exited

if TYPE_CHECKING:
    from .world import World


class Remains:
    """What one world leaves behind."""

    def __init__(self, world: World) -> None:
        self._world = world

    def wait_until_none(self) -> None:
        """Let all that is kept for a time run out, and see that nothing is left."""
        world = self._world
        patience_s = 60.0 + max(request.plan.settings.sealed_ttl_s for request in world.requests)
        world.loop.run(world.loop.now + patience_s, lambda: not self._found())
        leaks = self._found()
        if leaks:
            world.fail(f"left behind {patience_s:.0f} s after the last program ended: {', '.join(leaks)}")

    def _found(self) -> list[str]:
        world = self._world
        found: list[str] = []
        if world.router.process.alive and world.router.instance is None:
            return []  # it has restarted, and nobody is left who would have spoken to it since
        registry = world.registry
        if registry is None:
            return ["no router"]
        for name, left in (("requests", registry.requests), ("waiting", registry.lifecycle.waiting)):
            if left:
                found.append(f"registry {name}: {list(left)[:3]}")
        # A process that died while it published is remembered for a while.
        living = {client.client_id for number, client in world.clients.items() if world.processes[number].alive}
        for request_id, interested in registry.clients._interests.items():
            if living & {client_id for client_id, _ in interested}:
                found.append(f"interest in {request_id}")
        for router in world.routers:
            claims = router.instance._registry.agents._claims if router.instance is not None else ()
            if claims and router.process.alive:
                found.append(f"claims {list(claims)}")
        backlog = registry.lifecycle.backlog
        if backlog.size_bytes or backlog.held_count:
            found.append(f"{backlog.size_bytes} bytes on their way, {backlog.held_count} requests wait for room")
        if registry.requests.kept_bytes:
            found.append(f"the registry counts {registry.requests.kept_bytes} bytes of logs")
        for actor_id, actor in world.router.instance._fleet.actors.items():
            if actor.waits or actor.queues:
                found.append(f"queues of {actor_id}")
        for slot in registry.pool.slots.values():
            if slot.open_requests:
                found.append(f"place {slot.actor_id} holds {sorted(slot.open_requests)}")
        for actor in world.stream_actors.values():
            if actor.process.alive and actor.instance is not None:
                host = actor.instance._host
                left = {
                    **{name: getattr(host, name) for name in ("sessions", "_reports", "_timeouts", "copies")},
                    **{name: getattr(host.audience, name) for name in ("_parked", "_awaited")},
                    "readers": host.audience,
                }
                found += [f"{actor.name} {name}: {len(what)}" for name, what in left.items() if len(what)]
                if host.sessions or actor.process.name.split("#")[0] not in world.router.instance._fleet.actors:
                    found.append(f"{actor.name} is nobody's")
        for number, client in world.clients.items():
            if world.processes[number].alive:
                for link in client._links:
                    if link._listeners:
                        found.append(f"client-{number} listens: {list(link._listeners)[:3]}")
                    if link._feed.waits:
                        found.append(f"client-{number} has something to send")
                if client._budget.bytes_held:
                    found.append(f"client-{number} keeps {client._budget.bytes_held} bytes for replay")
                for poller in client._pollers._pollers.values():
                    if poller._subscriptions:
                        found.append(f"client-{number} polls on")
        return found

    def check_errors(self) -> None:
        """No part of the product may have raised what nobody caught."""
        loop = self._world.loop
        for context in loop.errors:
            error = context.get("exception")
            if isinstance(error, Exited):
                continue
            self._world.fail(f"{context.get('message')}: {type(error).__name__}: {error}")
        for task in loop.tasks:
            if task.done() and not task.cancelled() and task._log_traceback:  # nobody has asked for it
                error = task.exception()
                what = task.get_coro().__qualname__
                if what == "wait_for" and isinstance(error, RayError):
                    continue  # one of a `gather` that waits for the others yet
                if error is not None and not isinstance(error, Exited):
                    self._world.fail(f"{what} ended with {type(error).__name__}: {error}")
