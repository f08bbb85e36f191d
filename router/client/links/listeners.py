"""Who wants to hear what of one router, and how new what they have heard is.

A process with ten thousand open streams has an entry for each, so an entry is small: most have one listener.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from actors.errors import StreamRouterError
from actors.protocol.states import Key, Role


class StateListener(Protocol):
    """Who wants to hear the states of one request."""

    def on_state(self, state: Any) -> None:
        """Take what the router says: a state of the listener's own role."""
        ...

    def on_unreachable(self, error: StreamRouterError) -> None:
        """Nothing more will come: the router is gone for good (RouterUnavailable), or this end is (RouterClosed)."""
        ...

    def on_fault(self, error: StreamRouterError) -> None:
        """What this listener's request needs cannot be done: it alone has to end, with this error."""
        ...

    def on_router_restart(self) -> None:
        """The router has forgotten everything: say again what it should know."""
        ...


class Heard:
    """Those who listen to one key, in the order in which they came, and the version of what they heard last."""

    __slots__ = ("_as_of", "_listeners")

    def __init__(self, listener: StateListener) -> None:
        # The only one as it is.
        self._listeners: StateListener | tuple[StateListener, ...] = listener
        self._as_of = 0

    @property
    def listeners(self) -> tuple[StateListener, ...]:
        """All of them, as they are now."""
        listeners = self._listeners
        return listeners if isinstance(listeners, tuple) else (listeners,)

    def add(self, listener: StateListener) -> None:
        """Let somebody listen too (saying it twice does no harm)."""
        if listener not in self.listeners:
            self._listeners = (*self.listeners, listener)

    def remove(self, listener: StateListener) -> bool:
        """Tell this listener nothing more; whether nobody is left."""
        left = tuple(one for one in self.listeners if one is not listener)
        self._listeners = left[0] if len(left) == 1 else left
        return not left

    def is_newest(self, version: int) -> bool:
        """Whether a state of this version is not older than what was heard, and remember it.

        Versions count within an incarnation of the router; `Answers` says which answers are of the present one.
        """
        if version < self._as_of:
            return False
        self._as_of = version
        return True

    def begin_anew(self) -> None:
        """What comes from now on is of another incarnation."""
        self._as_of = 0


class Listeners:
    """The listeners of one link, by what they listen to."""

    __slots__ = ("_heard",)

    def __init__(self) -> None:
        # By role, then by request: a key kept for each would take as much as what was heard.
        self._heard: dict[str, dict[str, Heard]] = {role.value: {} for role in Role}

    def __len__(self) -> int:
        return sum(map(len, self._heard.values()))

    def __iter__(self) -> Iterator[Key]:
        return ((role, request_id) for role, heard in self._heard.items() for request_id in heard)

    def __contains__(self, key: Key) -> bool:
        role, request_id = key
        return request_id in self._heard[role]

    def get(self, key: Key) -> Heard | None:
        """Return who listens to a key; None: nobody."""
        role, request_id = key
        return self._heard[role].get(request_id)

    def of(self, key: Key) -> tuple[StateListener, ...]:
        """Return the listeners of a key."""
        heard = self.get(key)
        return () if heard is None else heard.listeners

    def all(self) -> list[tuple[Key, StateListener]]:
        """Return all listeners, each with its key."""
        return [
            ((role, request_id), listener)
            for role, by_request in self._heard.items()
            for request_id, heard in by_request.items()
            for listener in heard.listeners
        ]

    def add(self, key: Key, listener: StateListener) -> None:
        """Let somebody listen to a key (saying it twice does no harm)."""
        role, request_id = key
        heard = self._heard[role].get(request_id)
        if heard is None:
            self._heard[role][request_id] = Heard(listener)
        else:
            heard.add(listener)

    def remove(self, key: Key, listener: StateListener) -> bool:
        """Tell this listener nothing more; whether nobody listens to the key any more, where somebody did."""
        heard = self.get(key)
        if heard is None or not heard.remove(listener):
            return False
        role, request_id = key
        del self._heard[role][request_id]
        return True

    def begin_anew(self) -> None:
        """The router has another incarnation: its versions count anew."""
        for by_request in self._heard.values():
            for heard in by_request.values():
                heard.begin_anew()

    def clear(self) -> None:
        """Nobody listens any more."""
        for heard in self._heard.values():
            heard.clear()
