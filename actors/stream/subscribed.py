"""The subscriptions to a session, in the order in which they came. Pure.

A session has them itself (`Session.subscribed`), so that nobody looks for them when it has news. Most have one, which
is kept as it is: a table of one would take more memory than all else that is known of a silent stream's reader.
"""

from __future__ import annotations

from collections.abc import Collection

from actors.stream.readers import Subscription
from actors.stream.session import Session


def subscriptions_of(session: Session) -> Collection[Subscription]:
    """Return the subscriptions to a session."""
    known: Subscription | dict[Subscription, None] | None = session.subscribed
    if isinstance(known, Subscription):
        return (known,)
    return known or ()


def add(subscription: Subscription) -> None:
    """Add one."""
    session = subscription.session
    known = session.subscribed
    if known is None:
        session.subscribed = subscription
    elif isinstance(known, Subscription):
        session.subscribed = {known: None, subscription: None}
    else:
        known[subscription] = None


def remove(subscription: Subscription) -> None:
    """Remove one, where it is known."""
    session = subscription.session
    known = session.subscribed
    if isinstance(known, dict):
        known.pop(subscription, None)
    if not known or known is subscription:
        session.subscribed = None


def take(session: Session) -> Collection[Subscription]:
    """Remove all to a session, and return them."""
    taken = subscriptions_of(session)
    session.subscribed = None
    return taken
