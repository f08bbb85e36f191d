"""The actor's end of calls through sockets: it meets whoever asks, and serves their calls on its own event loop."""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
import ssl
from collections.abc import Callable, Collection, Sequence
from typing import Any

from actors.errors import InternalError, ProtocolViolation, StreamRouterError
from actors.protocol.frames import pack
from actors.transport import local, network
from actors.transport.connection import CONNECT_DEADLINE_S, MEET_DEADLINE_S, End
from actors.transport.meeting import LOCAL, Address, Reach
from actors.transport.stream_codec import Kind, decode_call, encode

log: logging.Logger = logging.getLogger("actors.transport")

COMERS_MAX = 16
"""So many may come to one address; all but the one that it was given to are sent away."""

CALLS_OUT_MAX = 10_000
SHOWN_CHARS_MAX = 300


class _Served(End):
    """The actor's end of one connection.

    Where that breaks, calls under way go on: each may be made twice, and nobody knows what became of them.
    """

    def __init__(
        self,
        actor: Any,
        methods: Collection[str],
        followed: Collection[str],
        address: Address,
        on_met: Callable[[], None],
    ) -> None:
        super().__init__()
        self._actor = actor
        self._methods = methods
        # An actor has one of them at least, not each.
        self._followed = {name: getattr(actor, name) for name in followed if hasattr(actor, name)}
        self._address = address
        self._on_met = on_met
        self._is_met = False
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio. Whoever comes and says nothing is not waited for."""
        super().connection_made(transport)
        asyncio.get_running_loop().call_later(MEET_DEADLINE_S, self._give_up)

    def _give_up(self) -> None:
        if not self._is_met:
            self.close()

    def take(self, number: int, kind: int, body: bytes) -> None:
        """Take a call, or first of all what shows that this is who has asked."""
        if not self._is_met:
            if kind != Kind.HELLO or not hmac.compare_digest(body, self._address.asker_says):
                raise ProtocolViolation("whoever came to a socket does not know what it was given")
            self._is_met = True
            self._on_met()
            self.write(encode(0, Kind.HELLO, self._address.actor_says))
            return
        if kind != Kind.CALL:
            raise ProtocolViolation(f"a caller sends calls; this is of kind {kind}")
        if len(self._tasks) >= CALLS_OUT_MAX:
            raise ProtocolViolation(f"{CALLS_OUT_MAX} calls of one connection are under way already")
        method, arguments = decode_call(body)
        followed = self._followed.get(method)
        if followed is not None:
            try:
                followed(*arguments, Reply(self, number))
            except Exception as error:  # noqa: BLE001  # whatever a method raises is an answer to its caller
                self.write(_encode_raised(number, method, error))
            return
        if method not in self._methods:
            raise ProtocolViolation(f"no method {method!r} is called through a socket")
        task = asyncio.get_running_loop().create_task(self._serve(number, method, arguments))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, number: int, method: str, arguments: list[Any]) -> None:
        try:
            answer = encode(number, Kind.ANSWER, pack(await getattr(self._actor, method)(*arguments)))
        except Exception as error:  # noqa: BLE001  # as above
            answer = _encode_raised(number, method, error)
        self.write(answer)

    @property
    def is_open(self) -> bool:
        """Whether what is written may still arrive."""
        return self._transport is not None and not self._transport.is_closing()


class Reply:
    """The answers to one call that may have many."""

    __slots__ = ("_number", "_served")

    def __init__(self, served: _Served, number: int) -> None:
        self._served = served
        self._number = number

    def more(self, answer: Any) -> bool:
        """Give one; False where its connection is gone."""
        self._served.write(encode(self._number, Kind.MORE, pack(answer)))
        return self._served.is_open

    def last(self, answer: Any) -> None:
        """Give the last one."""
        self._served.write(encode(self._number, Kind.ANSWER, pack(answer)))

    def is_beside(self, other: Reply) -> bool:
        """Whether both go through one connection."""
        return self._served is other._served


def _encode_raised(number: int, method: str, error: Exception) -> Sequence[bytes]:
    if isinstance(error, StreamRouterError):
        return _encode_error(number, error)
    log.error("%s failed", method, exc_info=error)
    shown = f"{method}: {type(error).__name__}: {str(error)[:SHOWN_CHARS_MAX]}"
    return _encode_error(number, InternalError(shown))


def _encode_error(number: int, error: StreamRouterError) -> Sequence[bytes]:
    """Return an error as an answer, also where its text quotes what cannot be packed: its caller must not wait."""
    code, text = error.to_wire()
    return encode(number, Kind.ERROR, pack([code, text.encode("utf-8", "backslashreplace").decode()]))


class _Offer:
    """An address that waits for its asker."""

    def __init__(self, listening: socket.socket, address: Address, context: ssl.SSLContext | None) -> None:
        """`context`: what the connection is encrypted with; None: it is not."""
        self.listening = listening
        self.address = address
        self.context = context
        self.is_met: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def met(self) -> None:
        """The asker has come; nobody else may."""
        if not self.is_met.done():
            self.is_met.set_result(None)
        self.withdraw()

    def withdraw(self) -> None:
        """Listen no more."""
        self.listening.close()
        if self.address.means == LOCAL:
            local.forget(self.address)

    async def next_comer(self) -> socket.socket | None:
        """Return the next connection; None once the asker has come. Raises OSError."""
        loop = asyncio.get_running_loop()
        accepting: asyncio.Future[tuple[socket.socket, Any]] = loop.create_task(loop.sock_accept(self.listening))
        try:
            either: list[asyncio.Future[Any]] = [accepting, self.is_met]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not accepting.done():
                return None
            connected, _ = accepting.result()
        finally:
            if not loop.is_closed():  # a loop may end with this in it
                accepting.cancel()
        connected.setblocking(False)
        return connected


class Door:
    """An actor's way of being called through sockets. `methods`: those that may be."""

    def __init__(
        self, actor: Any, methods: Collection[str], reach: Reach | None, followed: Collection[str] = frozenset()
    ) -> None:
        """`reach`: how far it goes without Ray; None: it meets nobody. `followed`: methods that take a `Reply`."""
        self._actor = actor
        self._methods = methods
        self._followed = followed
        self._reach = reach
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_swept = False

    def meet(self, node_id: str, *, is_apart: bool = False) -> list[Any] | str:
        """Return an `Address` for one asker of that node, who has `MEET_DEADLINE_S` to come; or why there is none.

        `is_apart`: the asker finds no socket of this node, though it stands there (in another container).
        """
        reach = self._reach
        if reach is None:
            return "the actor was started to speak through Ray alone"
        is_near = node_id == reach.node_id
        try:
            if reach.is_local and is_near and not is_apart and local.is_possible():
                offer = _Offer(*self._listen_locally(), None)
            elif reach.ports is not None:
                context = network.tls(is_asker=False)
                offer = _Offer(*network.listen(reach.host, reach.ports), context)
            else:
                return "its system does not allow it" if is_near else "it stands on another node"
        except OSError as error:
            log.warning("no socket for a process that asks for one: %s", error)
            return f"the actor could make no socket: {error}"
        task = asyncio.get_running_loop().create_task(self._accept(offer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return list(offer.address)

    def _listen_locally(self) -> tuple[socket.socket, Address]:
        if not self._is_swept:
            self._is_swept = True
            local.sweep()
        return local.listen()

    async def _accept(self, offer: _Offer) -> None:
        try:
            async with asyncio.timeout(MEET_DEADLINE_S):
                for _ in range(COMERS_MAX):
                    connected = await offer.next_comer()
                    if connected is None:
                        return
                    await self._serve(connected, offer)
        except (OSError, TimeoutError) as error:
            log.info("nobody came to a socket who was asked: %s", type(error).__name__)
        finally:
            offer.withdraw()

    async def _serve(self, connected: socket.socket, offer: _Offer) -> None:
        """Begin to serve whoever came; who does not know the address's words is sent away by what serves."""
        served = _Served(self._actor, self._methods, self._followed, offer.address, offer.met)
        limit_s = None if offer.context is None else CONNECT_DEADLINE_S
        try:
            if offer.address.means == LOCAL:
                local.check_peer(connected)
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: served, connected, ssl=offer.context, ssl_handshake_timeout=limit_s
            )
        except OSError as error:
            connected.close()
            log.info("whoever came to a socket was sent away: %s", error)
