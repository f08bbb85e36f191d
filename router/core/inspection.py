"""How a router's requests stand, in words, and whether what it knows of them agrees with itself. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from actors.protocol.states import RequestPhase
from router.core.lifecycle import Lifecycle
from router.core.pool import Slot


def story(lifecycle: Lifecycle, request_id: str) -> list[str]:
    """Return what has happened to a request lately, a line an event, and how it stands."""
    lines = [
        f"{note.at:.3f} s: epoch {note.epoch}: {note.kind}{f' ({note.detail})' if note.detail else ''}"
        for note in lifecycle.dispatch.stories.of(request_id)
    ]
    request = lifecycle.requests.get(request_id)
    if request is None:
        return [*lines, "now: not known here"]
    waits = f", waits for {request.waits_for}" if request.waits_for else ""
    copy = f", a copy of its log is on {request.copy_id}" if request.is_copied else ""
    now = (
        f"now: {request.phase}, epoch {request.epoch}, actor {request.actor_id}, items {request.sent_seq} of "
        f"{request.high_seq} sent, {request.last_seq_id} messages, stop reason {request.stop_reason}{waits}{copy}"
    )
    return [*lines, now]


def inconsistencies(lifecycle: Lifecycle) -> list[str]:
    """Return what contradicts itself, a line each; looks at everything."""
    found = [*lifecycle.requests.validate(), *_without_a_place(lifecycle)]
    for slot in lifecycle.pool.slots.values():
        found += _not_its_load(lifecycle, slot)
    return found


def _without_a_place(lifecycle: Lifecycle) -> Iterator[str]:
    for request in lifecycle.requests.values():
        place = request.actor_id or request.awaits
        if request.is_live and place is not None:
            slot = lifecycle.pool.slots.get(place)
            if slot is None:
                yield f"{request.request_id}: it is on {place}, which the pool does not know"
            elif request.request_id not in slot.open_requests:
                yield f"{request.request_id}: {place} does not count it as its load"
        waits = request.phase == RequestPhase.WAITING and place is None
        if waits and request.request_id not in lifecycle.waiting:
            yield f"{request.request_id}: it waits for a place and stands in no queue"


def _not_its_load(lifecycle: Lifecycle, slot: Slot) -> Iterator[str]:
    for request_id in slot.open_requests:
        held = lifecycle.requests.get(request_id)
        if held is None or not held.is_live or slot.actor_id not in (held.actor_id, held.awaits):
            yield f"{slot.actor_id} counts {request_id} as its load and does not hold it"
