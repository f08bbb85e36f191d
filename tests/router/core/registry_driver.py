"""Drives a `Registry` as its shell, its stream actors and its clients do, without any of them."""

from __future__ import annotations

from typing import Any

from actors.errors import StreamRouterError
from actors.protocol.envelopes import Envelope, Order
from actors.protocol.frames import pack
from actors.protocol.states import Inventory, PublisherState, Report, Role, SessionPhase, SessionRecord
from actors.settings import StreamSettings, packed
from router.config import RouterConfig
from router.core.registry import Registry
from router.core.request import Request

SETTINGS = packed(StreamSettings())
LOG = b"a packed log"
ITEMS = pack([b"{}"])
HERE, THERE = "node-a", "node-b"


def settings(**chosen: Any) -> bytes:
    return packed(StreamSettings.model_validate(chosen))


class Router:
    """A registry on node-a, with a stream actor for each node that is named."""

    def __init__(self, *nodes: str, **pool: Any) -> None:
        pool = {
            "max_actors": 8,
            "warm_actors": 0,
            "packed_streams_per_actor": 1,
            "max_streams_per_actor": 10_000,
            **pool,
        }
        self.registry = Registry(RouterConfig.model_validate({"stream_actors": pool}), "me", 0.0, node_id=HERE)
        self.nodes: list[str] = []
        for node in nodes:
            self.add_actor(node)

    def add_actor(self, node: str, now: float = 0.0) -> str:
        actor_id = self.registry.pool.add().actor_id
        self.nodes.append(node)
        self.registry.actor_started(actor_id, 1, node, now)
        return actor_id

    # --- its clients --------------------------------------------------------------------------

    def open(self, request_id: str, now: float = 0.0, **more: Any) -> str | None:
        """Open a request; return where it is."""
        assert self.opens(request_id, now, **more) is None
        return self.registry.requests[request_id].actor_id

    def opens(
        self, request_id: str, now: float = 0.0, *, client: str = "publisher", packed: bytes = SETTINGS, **more: Any
    ) -> StreamRouterError | None:
        """Let a client open a request; return the refusal."""
        error = self.registry.open(client, request_id, packed, now, date="", **more)
        self.registry.validate()
        return error

    def sends(self, request_id: str, first_seq: int, count: int = 1, *, client: str = "publisher") -> None:
        """Let a publisher send items of the present epoch."""
        items = [request_id, self.request(request_id).epoch, first_seq, count, ITEMS]
        self.registry.forward(client, [items], 0.0)
        self.registry.validate()

    def publisher_state(self, request_id: str, *, client: str = "publisher", now: float = 0.0) -> PublisherState:
        states = self.registry.news(client, ("", 0), now).states
        return next(state for state in states if state[:2] == (Role.PUBLISHER, request_id))

    def publisher_hears(self, request_id: str) -> str:
        return self.publisher_state(request_id).phase

    # --- its stream actors --------------------------------------------------------------------

    def seals(self, request_id: str, now: float = 0.0) -> None:
        request = self.registry.requests[request_id]
        assert request.actor_id is not None
        self.says(request.actor_id, request_id, SessionPhase.SEALED, now, stop_reason="end_turn", log=LOG)

    def says(self, actor_id: str, request_id: str, phase: SessionPhase, now: float = 0.0, **more: Any) -> None:
        epoch = self.registry.requests[request_id].epoch
        self.registry.reports(actor_id, [list(Report(request_id, epoch, phase, **more))], now)
        self.registry.validate()

    def dies(self, actor_id: str, now: float = 0.0) -> None:
        self.registry.actor_died(actor_id, now)
        self.registry.validate()

    # --- what comes of it ---------------------------------------------------------------------

    def request(self, request_id: str) -> Request:
        return self.registry.requests[request_id]

    def sent(self, order: Order) -> list[tuple[str, str]]:
        """Return (actor, request) of the envelopes of this kind that were sent, and forget all that was."""
        effects = self.registry.take_effects()
        return [(actor_id, request_id) for actor_id, request_id, envelope, _ in effects.send if envelope[0] == order]

    def sent_to(self, actor_id: str) -> list[Envelope]:
        """Return the envelopes that were sent to an actor, and forget all that was."""
        return [envelope for to, _, envelope, _ in self.registry.take_effects().send if to == actor_id]

    def passes(self, until: float) -> None:
        """Let time pass, with a look at each moment that is asked for."""
        while (due_at := self.registry.due_at()) <= until:
            self.registry.tick(due_at)
            self.registry.validate()
        self.registry.tick(until)
        self.registry.validate()


# --- after a restart --------------------------------------------------------------------------


def held(
    request_id: str,
    phase: SessionPhase,
    epoch: int = 1,
    *,
    owner: tuple[str, int] | tuple[()] = (),
    client: str = "publisher",
    replay_through: int = 0,
    ttl_s: float = 100.0,
    **report: Any,
) -> list[object]:
    """Return what a stream actor says of one session that it holds."""
    record = SessionRecord(
        SETTINGS, client, "", 0.0, ttl_s, 1, replay_through, None, cancels_after_step=False, owner=list(owner)
    )
    reason = "end_turn" if phase in (SessionPhase.SEALED, SessionPhase.COPY) else None
    said = Report(request_id, epoch, phase, stop_reason=reason)._replace(**report)
    return list(Inventory(list(said), record._asdict()))


def restarted(**inventories: list[list[object]]) -> Router:
    """A router without memory that adopts actors, in this order, with what they say they hold."""
    router = Router()
    router.registry.wait_for_publishers(0.0)
    router.registry.expect(inventories)
    for actor_id, inventory in inventories.items():
        adopt(router, actor_id, inventory)
    router.registry.settle(inventories, 0.0)
    router.registry.validate()
    return router


def adopt(router: Router, actor_id: str, inventory: list[list[object]], now: float = 0.0) -> None:
    """Adopt an actor that stands on the router's node if it is the first one, else on the other."""
    router.registry.adopt(actor_id, inventory, now)
    router.registry.actor_started(actor_id, 1, HERE if actor_id == "s1" else THERE, now)
