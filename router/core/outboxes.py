"""The processes that publish and read: what each must still be told.

Theory. What a client should know is kept as a level, not as events: each client has an outbox of keys,
each with the version it was last touched at, and an answer holds the present state of every key that is
newer than what the client has seen. So a lost answer loses nothing, and a key touched ten times before
the client asks is told once. Versions count within one incarnation of a client's outbox; a client that
was forgotten, or meets a new router, sees another incarnation in the first answer and begins anew.

Pure: what the states are the caller says, and the time is an argument.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from actors.members import Members
from actors.protocol.calls import WATCH_WAIT_S_MAX
from actors.protocol.states import Key, Role, memory_id

# A client whose watch does not come back so long after it may have ended is gone.
CLIENT_TIMEOUT_S = WATCH_WAIT_S_MAX + 8.0
# Clients that only ever said one thing are forgotten after so long.
CLIENT_FORGET_S = 600.0
# Of so many that were forgotten, those forgotten last, it is known which of their calls were heard.
FORGOTTEN_MAX = 10_000

Interest = tuple[str, int]
"""A client, and the number of its call that said so."""


@dataclass(slots=True, eq=False)
class Client:
    """A process that publishes or reads. `publishes`: the request IDs it is the publisher of."""

    client_id: str
    last_seen: float
    incarnation: str
    version: int = 0
    outbox: dict[Key, int] = field(default_factory=dict)
    publishes: Members[str] = field(default_factory=Members)
    opens_no: int = 0
    """The highest number of its calls to open that were heard."""
    watching: int = 0
    # It was silent for so long that what it publishes counts as left alone, until its next word.
    was_gone: bool = False


class Clients:
    """All clients of one router actor, by ID. `on_new(client_id, now)` is called for each that is new."""

    def __init__(self, incarnation: str, on_new: Callable[[str, float], None]) -> None:
        self.incarnation: str = incarnation
        """The router's own."""
        self._on_new = on_new
        self._clients: dict[str, Client] = {}
        self._generations = 0
        # How many calls to open were heard of those that were forgotten: one of them may yet come again.
        self._opens_nos: OrderedDict[str, int] = OrderedDict()
        # Who reads a request, wants to, or has asked where it is, and the number of the client's call that said so.
        # Mostly it is one, and the same pair stands for all requests of its call.
        self._interests: dict[str, tuple[Interest, ...]] = {}
        self.wakes: dict[str, bool] = {}
        """Those who watch and have news, and whether that is urgent."""

    def __len__(self) -> int:
        return len(self._clients)

    def __contains__(self, client_id: str) -> bool:
        return client_id in self._clients

    def get(self, client_id: str) -> Client | None:
        """Return a client, if it is known."""
        return self._clients.get(client_id)

    def known(self, client_id: str, now: float) -> Client:
        """Return a client, made known if it is not."""
        found = self._clients.get(client_id)
        if found is None:
            # A client that was forgotten must notice it as it would notice a new router.
            self._generations += 1
            found = self._clients[client_id] = Client(client_id, now, memory_id(self.incarnation, self._generations))
            found.opens_no = self._opens_nos.pop(client_id, 0)
            self._on_new(client_id, now)
        return found

    def heard(self, client_id: str, now: float) -> Client:
        """Return a client that has said something, made known at its first word."""
        found = self._clients.get(client_id) or self.known(client_id, now)
        found.last_seen = now
        return found

    def paused(self, gap_s: float) -> None:
        """Nobody could be heard for so long: it does not count as silence."""
        for client in self._clients.values():
            client.last_seen += gap_s

    def forget(self, client_id: str) -> None:
        """Forget a client and what it was interested in."""
        interests = [(request_id, _call_no(found, client_id)) for request_id, found in self._interests.items()]
        for request_id, call_no in interests:
            if call_no is not None:
                self.lose_interest(client_id, [request_id], call_no)
        opens_no = self._clients.pop(client_id).opens_no
        if opens_no:
            self._opens_nos[client_id] = opens_no
            if len(self._opens_nos) > FORGOTTEN_MAX:
                self._opens_nos.popitem(last=False)

    # --- what they are told -----------------------------------------------------------------

    def tell(self, client_id: str, key: Key, *, urgent: bool = True) -> None:
        """Note that a client must hear of a key; where it is not `urgent`, that may wait a little for company."""
        client = self._clients.get(client_id)
        if client is None:
            return
        client.version += 1
        client.outbox.pop(key, None)
        client.outbox[key] = client.version
        self.wakes[client_id] = urgent or self.wakes.get(client_id, False)

    def unseen(self, client: Client, seen: Sequence[Any]) -> list[Key]:
        """Return the keys that a client has not `seen` yet; what it has is taken off its outbox."""
        outbox = client.outbox
        incarnation, version = seen
        if incarnation == client.incarnation:
            # Keys stand in the order of their versions: what was seen stands in front.
            for key in [*takewhile(lambda key: outbox[key] <= version, outbox)]:
                del outbox[key]
            if not outbox:
                client.outbox = {}  # a dict keeps the room that ten thousand opens at once have needed
        return [*outbox]

    def has_unseen(self, client_id: str, seen: Sequence[Any]) -> bool:
        """Whether there is something that a client has not seen, if only that it is not known here as it believes."""
        client = self._clients.get(client_id)
        incarnation, version = seen
        if client is None or incarnation != client.incarnation:
            return True
        return bool(client.outbox) and next(reversed(client.outbox.values())) > version

    def has_seen(self, client_id: str, key: Key, seen: Sequence[Any]) -> bool:
        """Whether a client has seen the present state of a key that it was told of."""
        client = self._clients.get(client_id)
        incarnation, version = seen
        return client is not None and incarnation == client.incarnation and client.outbox.get(key, 0) <= version

    def take_wakes(self) -> dict[str, bool]:
        """Return whom to wake, once: client IDs, and whether that is urgent."""
        taken, self.wakes = self.wakes, {}
        return taken

    # --- what they are interested in --------------------------------------------------------

    def tell_readers(self, request_id: str) -> None:
        """Note that all who are interested in a request must hear of it."""
        for client_id, _ in self._interests.get(request_id, ()):
            self.tell(client_id, (Role.READER, request_id))

    def take_interest(self, client_id: str, request_ids: Iterable[str], call_no: int) -> None:
        """Tell the client of these requests from now on. The client's calls about its interests are numbered."""
        alone = ((client_id, call_no),)
        for request_id in request_ids:
            found = self._interests.get(request_id)
            self._interests[request_id] = alone if found is None else _with(found, client_id, call_no)

    def lose_interest(self, client_id: str, request_ids: Iterable[str], call_no: int) -> None:
        """Tell the client no more about these requests, but for those that a later call of its was interested in.

        Of two calls, the one made first may come last: a reader that went and came back must not be forgotten. Where
        the request was, meanwhile, the client is yet to hear so.
        """
        client = self._clients.get(client_id)
        for request_id in request_ids:
            found = self._interests.get(request_id, ())
            said_no = _call_no(found, client_id)
            if said_no is None or said_no > call_no:
                continue
            rest = tuple(interest for interest in found if interest[0] != client_id)
            if rest:
                self._interests[request_id] = rest
            else:
                del self._interests[request_id]
            if client is not None:
                client.outbox.pop((Role.READER, request_id), None)

    def forget_request(self, request_id: str) -> None:
        """Nobody is interested in a request any more, for it is gone."""
        self._interests.pop(request_id, None)

    @property
    def interesting(self) -> list[str]:
        """The requests that somebody is interested in, whether they exist or not."""
        return [*self._interests]


def _call_no(interests: Iterable[Interest], client_id: str) -> int | None:
    return next((call_no for interested, call_no in interests if interested == client_id), None)


def _with(interests: tuple[Interest, ...], client_id: str, call_no: int) -> tuple[Interest, ...]:
    """Return interests with that of a client in its place, or behind the others."""
    known = _call_no(interests, client_id)
    if known is None:
        return (*interests, (client_id, call_no))
    newest = (client_id, max(call_no, known))
    return tuple(newest if interest[0] == client_id else interest for interest in interests)
