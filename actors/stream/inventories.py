"""What a router without memory must know of a session beside its report."""

from __future__ import annotations

from actors.protocol.states import Inventory, SessionRecord
from actors.stream.session import Session


def inventory_of(session: Session, now: float) -> Inventory:
    """Return what a session says of itself to a router that has never heard of it."""
    record = SessionRecord(
        session.settings_packed,
        session.publisher_id,
        session.date,
        session.age_s(now),
        session.forget_at - now if session.sealed else 0.0,
        session.start_seq,
        session.replay_through,
        list(session.ending) if session.ending is not None else None,
        session.cancels_after_step,
        session.owner,
    )
    return Inventory(list(session.state(with_log=False)), record._asdict())
