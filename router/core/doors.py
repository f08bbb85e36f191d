"""The doors of a router actor for its clients: who asks, may they, and what do they call things. Pure.

Each door finds out who the caller is, refuses what their scopes do not allow, turns their names into full ones,
lets the `Registry` do it, and turns the names in its answer back: see `actors.tenants`. Of a service without
tenants every caller is the same and names are what they are, so a door is the registry's own method.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from actors.errors import NotPermitted, ProtocolViolation, Recovering, StreamRouterError, UnknownRequest
from actors.protocol.calls import (
    ClaimAnswer,
    ClaimCall,
    FenceCall,
    LocateCall,
    OpenCall,
    Registration,
    ReleaseCall,
)
from actors.protocol.finding import ListAnswer, ListCall, Row
from actors.protocol.frames import checked
from actors.protocol.states import News, PublisherState
from actors.tenants import EVERYBODY, NOBODYS, PLAIN, SEPARATOR, Key, Names, Passes, Scope, identity_of
from router.core.finding import row_of, wanted_of
from router.core.registry import Registry

Told = tuple[str, str]
"""An error as it crosses: (code, text)."""


class Cancelled(NamedTuple):
    """What became of a cancel. `full`: the full name of the request."""

    error: Told | None
    was_open: bool
    full: str


class Forgotten(NamedTuple):
    """What became of the wish to forget a request. `full`: its full name."""

    error: Told | None
    number: int
    """The one with which it was created."""
    full: str


class Doors:
    """What clients may ask of a registry. `key`: that of a service with tenants; None: it has none."""

    def __init__(self, registry: Registry, key: Key | None = None) -> None:
        self._registry = registry
        self._key = key
        self.pass_key: bytes | None = None if key is None else key.pass_key
        """What stream actors check the passes of readers with; None where there are no tenants."""
        self._passes = None if self.pass_key is None else Passes(self.pass_key)

    # --- who asks ---------------------------------------------------------------------------

    def enter(self, process: str, token: str, wall_now: float) -> str:
        """Return the client ID of a process that shows a token. Raises NotPermitted, ProtocolViolation."""
        if self._key is None or self._passes is None:
            return process
        return self._passes.make(process, self._key.identity(token, wall_now))

    def narrow(self, caller: str, process: str, subject: str) -> str:
        """Return a client ID with which a process that sees all is one of a subject's. Raises NotPermitted.

        It has the caller's scopes without `operate`, which is nobody's who sees not all. Raises InvalidArgument,
        ProtocolViolation too.
        """
        if self._passes is None:
            raise NotPermitted("this service has no tenants (tenants.enabled), so nobody can be one of them")
        names = self.names(caller)
        identity = self._passes.identity(caller)
        if identity is None or not names.sees_all:
            raise NotPermitted(f"only a token of the subject {EVERYBODY!r} can be narrowed to another subject")
        return self._passes.make(process, identity_of(subject, identity.scopes - {Scope.OPERATE}))

    def names(self, client_id: str, *scopes: Scope) -> Names:
        """Return the names of a caller who has one of these scopes, or any where none is named. Raises NotPermitted."""
        if self._passes is None:
            return PLAIN
        identity = self._passes.identity(client_id)
        if identity is None:
            raise NotPermitted(
                "this service is shared by tenants and the caller shows no token of it: "
                "StreamRouter.connect(..., token=...)"
            )
        if scopes:
            identity.check(*scopes)
        return identity.names

    # --- publishers -------------------------------------------------------------------------

    def open(self, call: OpenCall, now: float) -> list[Told | None]:
        """Open requests; return the error of each. Raises NotPermitted."""
        names = self.names(call.client_id, Scope.PUBLISH)
        is_new = self._registry.is_new_open(call, now)
        return [_told(names, self._open(names, call.client_id, parts, now, is_new)) for parts in call.registrations]

    def _open(
        self,
        names: Names,
        client_id: str,
        parts: Any,
        now: float,
        is_new: bool,  # noqa: FBT001  # one of many
    ) -> StreamRouterError | None:
        try:
            wanted = checked(Registration, parts)
            if names is not PLAIN:
                agent_id = None if wanted.agent_id is None else names.full(wanted.agent_id)
                wanted = wanted._replace(request_id=names.full(wanted.request_id), agent_id=agent_id)
        except ProtocolViolation as violation:
            self._registry.refuse(violation)
            return violation
        return self._registry.register(client_id, wanted, now, is_new=is_new)

    def numbers(self, call: OpenCall, errors: Sequence[Told | None]) -> list[int]:
        """Return the number of each request that was just opened; 0 where it was refused."""
        names, requests = self.names(call.client_id), self._registry.requests
        return [
            requests[names.full(parts[0])].created if error is None else 0
            for parts, error in zip(call.registrations, errors, strict=True)
        ]

    def forward(self, client_id: str, envelopes: list[Any], now: float) -> None:
        """Take a publisher's envelopes (the parts of `ItemsEnvelope`s). Raises NotPermitted."""
        names = self.names(client_id, Scope.PUBLISH)
        if names is not PLAIN:
            envelopes = [_with_full_name(names, parts) for parts in envelopes]
        self._registry.forward(client_id, envelopes, now)

    def news(self, client_id: str, seen: Sequence[Any], now: float) -> News:
        """See `Registry.news`. Raises NotPermitted."""
        names = self.names(client_id)
        return _own_news(names, self._registry.news(client_id, seen, now))

    def disown(self, client_id: str, request_id: str, now: float) -> None:
        """See `Registry.disown`. Raises NotPermitted."""
        self._registry.disown(client_id, self.names(client_id, Scope.PUBLISH).full(request_id), now)

    # --- agents -----------------------------------------------------------------------------

    def claim(self, call: ClaimCall, now: float) -> ClaimAnswer:
        """Claim an agent. Raises NotPermitted."""
        names = self.names(call.client_id, Scope.PUBLISH)
        full = call._replace(request_id=names.full(call.request_id), agent_id=names.full(call.agent_id))
        error, state = self._registry.claim(full, now)
        told = _told(names, error)
        return ClaimAnswer(None if told is None else list(told), list(_own_state(names, state)))

    def release(self, call: ReleaseCall) -> None:
        """Let go of an agent. Raises NotPermitted."""
        names = self.names(call.client_id, Scope.PUBLISH)
        self._registry.release(call._replace(request_id=names.full(call.request_id)))

    def fence(self, caller: str, call: FenceCall, now: float) -> tuple[int, list[str]]:
        """See `Claims.fence`; the requests that end are told by their full names. Raises NotPermitted."""
        names = self.names(caller, Scope.PUBLISH)
        full = call._replace(agent_id=names.full(call.agent_id), request_id=names.full(call.request_id))
        return self._registry.fence(full, now)

    # --- readers, and whoever looks on ------------------------------------------------------

    def locate(self, call: LocateCall, now: float) -> News:
        """Say where requests are. Raises NotPermitted."""
        client_id, call_no, request_ids, losses = call
        names = self.names(client_id, Scope.READ)
        if names is not PLAIN:
            request_ids, losses = [*map(names.full, request_ids)], [*map(names.full, losses)]
        return _own_news(names, self._registry.locate(client_id, call_no, request_ids, losses, now))

    def look(self, caller: str) -> Names:
        """Return the names by which a caller may look at what there is. Raises NotPermitted."""
        return self.names(caller, Scope.READ, Scope.OPERATE)

    def find(self, call: ListCall) -> ListAnswer:
        """List requests that a caller has names for. Raises NotPermitted, ProtocolViolation, Recovering."""
        names = self.names(call.client_id, Scope.READ, Scope.OPERATE)
        found = self._registry.find(wanted_of(call, names))
        rows = [row_of(request, names) for request in found.requests]
        return ListAnswer(rows, found.through, found.is_all, found.is_partial)

    def watch(self, call: ListCall) -> Hashable:
        """See `Catalogue.watch`. Raises NotPermitted, ProtocolViolation."""
        names = self.names(call.client_id, Scope.READ, Scope.OPERATE)
        return self._registry.requests.catalogue.watch(wanted_of(call, names))

    def unwatch(self, key: Hashable) -> None:
        """See `Catalogue.unwatch`."""
        self._registry.requests.catalogue.unwatch(key)

    def look_up(self, caller: str, request_id: str) -> Row:
        """Say how a request stands. Raises NotPermitted, UnknownRequest, Recovering."""
        names = self.names(caller, Scope.READ, Scope.OPERATE)
        try:
            return row_of(self._registry.known(names.full(request_id)), names)
        except (UnknownRequest, Recovering) as error:
            raise type(error)(names.own_text(str(error))) from None

    def cancel(
        self, caller: str, request_id: str, now: float, *, after_step: bool = False, detail: str | None = None
    ) -> Cancelled:
        """See `Registry.cancel`."""
        names, full = PLAIN, ""
        try:
            names = self.names(caller, Scope.CANCEL, Scope.PUBLISH)
            full = names.full(request_id)
            return Cancelled(None, self._registry.cancel(full, now, after_step=after_step, detail=detail), full)
        except StreamRouterError as error:
            return Cancelled(_told(names, error), was_open=False, full=full)

    def forget(self, caller: str, request_id: str, number: int, now: float) -> Forgotten:
        """Forget an ended request: the one with this number; 0: only say which number that is, or why it may not be.

        See `Forgetting`.
        """
        names, full = PLAIN, ""
        try:
            names = self.names(caller, Scope.CANCEL, Scope.PUBLISH)
            full = names.full(request_id)
            if number:
                self._registry.forgetting.forget(full, number, now)
            else:
                number = self._registry.number_of_ended(full, now)
        except StreamRouterError as error:
            return Forgotten(_told(names, error), number, full)
        return Forgotten(None, number, full)

    # --- the service ------------------------------------------------------------------------

    def drain(self, caller: str) -> int:
        """Take no new requests from now on; return how many are still open. Raises NotPermitted."""
        self.names(caller, Scope.OPERATE)
        self._registry.admission.draining = True
        return self._registry.requests.live_count

    def resume(self, caller: str) -> None:
        """Take new requests again. Raises NotPermitted."""
        self.names(caller, Scope.OPERATE)
        self._registry.admission.draining = False

    def stop(self, caller: str) -> None:
        """Raise NotPermitted unless this caller may stop the service."""
        self.names(caller, Scope.OPERATE)


def _with_full_name(names: Names, parts: Any) -> Any:
    # What is no envelope, or has no name, stays as it is: the registry refuses it, and no other.
    if not isinstance(parts, (list, tuple)) or not parts or not isinstance(parts[0], str):
        return parts
    named = names if SEPARATOR not in parts[0] else NOBODYS
    return [named.full(parts[0]), *parts[1:]]


def _told(names: Names, error: StreamRouterError | None) -> Told | None:
    if error is None:
        return None
    code, text = error.to_wire()
    return code, names.own_text(text)


def _own_news(names: Names, news: News) -> News:
    if names is PLAIN:
        return news
    return news._replace(states=[_own_state(names, state) for state in news.states])


def _own_state(names: Names, state: Any) -> Any:
    if names is PLAIN:
        return state
    state = state._replace(request_id=names.own(state[1]))
    if isinstance(state, PublisherState) and state.error is not None:
        code, text = state.error
        state = state._replace(error=(code, names.own_text(text)))
    return state
