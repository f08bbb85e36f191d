"""Calls through a socket between two processes of one node.

`Door` is the actor's end: it meets whoever asks (`meeting.py`) and serves the calls of that connection on the
actor's own event loop. `Connection` is the caller's end. A connection that breaks says nothing about what became
of the calls on it: they fail as calls through Ray fail whose outcome is unknown, and are made again.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import Any

from actors.errors import InternalError, ProtocolViolation, StreamRouterError
from actors.protocol.frames import pack, unpack, unpack_list
from actors.transport import meeting
from actors.transport.stream_codec import NUMBERS, Kind, StreamDecoder, decode_call, encode, encode_call

log = logging.getLogger("actors.transport")

MEET_DEADLINE_S = 5.0
CALLS_OUT_MAX = 10_000
SHOWN_CHARS_MAX = 300


class Lost(ConnectionError):
    """The connection is gone; what became of the call is unknown."""


class _End(asyncio.Protocol, ABC):
    """One end of a connection."""

    def __init__(self) -> None:
        self._decoder = StreamDecoder()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = transport  # type: ignore[assignment]  # a stream's transport is one that writes

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        try:
            for number, kind, body in self._decoder.feed(data):
                self.take(number, kind, body)
        except ProtocolViolation as error:
            log.warning("a local connection ends: %s", error)
            self.close()

    @abstractmethod
    def take(self, number: int, kind: int, body: bytes) -> None:
        """Take one message. Raises ProtocolViolation."""

    def write(self, data: bytes) -> None:
        """Send; what is sent to an end that is closed is lost with it."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()


class _Served(_End):
    """The actor's end of one connection."""

    def __init__(self, actor: Any, methods: Collection[str], address: meeting.Address) -> None:
        super().__init__()
        self._actor = actor
        self._methods = methods
        self._address = address
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
            self.write(encode(0, Kind.HELLO, self._address.actor_says))
            return
        if kind != Kind.CALL:
            raise ProtocolViolation(f"a caller sends calls; this is of kind {kind}")
        if len(self._tasks) >= CALLS_OUT_MAX:
            raise ProtocolViolation(f"{CALLS_OUT_MAX} calls of one connection are under way already")
        method, arguments = decode_call(body)
        if method not in self._methods:
            raise ProtocolViolation(f"no method {method!r} is called through a socket")
        task = asyncio.get_running_loop().create_task(self._serve(number, method, arguments))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, number: int, method: str, arguments: list[Any]) -> None:
        try:
            answer = encode(number, Kind.ANSWER, pack(await getattr(self._actor, method)(*arguments)))
        except StreamRouterError as error:
            answer = _encode_error(number, error)
        except Exception as error:  # whatever a method raises is an answer to its caller
            log.exception("%s failed", method)
            shown = f"{method}: {type(error).__name__}: {str(error)[:SHOWN_CHARS_MAX]}"
            answer = _encode_error(number, InternalError(shown))
        self.write(answer)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """See asyncio. Calls under way go on: each may be made twice, and nobody knows what became of them."""
        self._transport = None


def _encode_error(number: int, error: StreamRouterError) -> bytes:
    """Return an error as an answer, also where its text quotes what cannot be packed: its caller must not wait."""
    code, text = error.to_wire()
    return encode(number, Kind.ERROR, pack([code, text.encode("utf-8", "backslashreplace").decode()]))


class Door:
    """An actor's way of being called through sockets. `methods`: those that may be."""

    def __init__(self, actor: Any, methods: Collection[str], node_id: str | None) -> None:
        """`node_id`: where the actor stands; None: it meets nobody."""
        self._actor = actor
        self._methods = methods
        self._node_id = node_id
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_swept = False

    def meet(self) -> list[Any] | None:
        """Return an `Address` for one asker, who has `MEET_DEADLINE_S` to come; None where that cannot be."""
        if self._node_id is None or not meeting.is_possible():
            return None
        if not self._is_swept:
            self._is_swept = True
            meeting.sweep()
        try:
            listening, address = meeting.listen(self._node_id)
        except OSError as error:
            log.warning("no local connection: %s", error)
            return None
        task = asyncio.get_running_loop().create_task(self._accept(listening, address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return list(address)

    async def _accept(self, listening: socket.socket, address: meeting.Address) -> None:
        loop = asyncio.get_running_loop()
        try:
            connected, _ = await asyncio.wait_for(loop.sock_accept(listening), MEET_DEADLINE_S)
            meeting.check_peer(connected)
            connected.setblocking(False)
        except (OSError, TimeoutError) as error:
            log.info("nobody came for a local connection: %s", type(error).__name__)
            return
        finally:
            listening.close()
            meeting.forget(address)
        served = _Served(self._actor, self._methods, address)
        await loop.connect_accepted_socket(lambda: served, connected)


class Connection(_End):
    """A caller's end of a connection to an actor. `on_lost`: called once, when it is gone."""

    def __init__(
        self,
        address: meeting.Address,
        on_lost: Callable[[], None],
        as_lost: Callable[[str], Exception],
        as_raised: Callable[[str, str], Exception],
    ) -> None:
        """`as_lost`, `as_raised`: make what a call raises whose outcome is unknown, and one whose method raised."""
        super().__init__()
        self._address = address
        self._on_lost = on_lost
        self._as_lost = as_lost
        self._as_raised = as_raised
        self._loop = asyncio.get_running_loop()
        self._numbers = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self.is_met: asyncio.Future[None] = self._loop.create_future()

    @classmethod
    async def to(cls, address: meeting.Address, *hooks: Any) -> Connection:
        """Meet an actor at an address. Raises OSError, TimeoutError."""
        made = cls(address, *hooks)
        connecting = meeting.connect(address)
        try:
            await made._loop.create_connection(lambda: made, sock=connecting)
        except BaseException:  # a cancel too
            made.close()
            connecting.close()
            raise
        made.write(encode(0, Kind.HELLO, address.asker_says))
        try:
            await asyncio.wait_for(made.is_met, MEET_DEADLINE_S)
        except BaseException:  # a cancel too
            made.close()
            raise
        return made

    def call(self, method: str, arguments: tuple[Any, ...]) -> asyncio.Future[Any]:
        """Call a method; the future has what it returned, or the error."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._transport is None:
            future.set_exception(self._as_lost("the local connection is gone"))
            return future
        self._numbers = number = (self._numbers + 1) % NUMBERS
        data = encode_call(number, method, arguments)  # what cannot be packed leaves nobody waiting
        self._waiting[number] = future
        self.write(data)
        return future

    def take(self, number: int, kind: int, body: bytes) -> None:
        """Take an answer, or first of all what shows that this is the actor."""
        if not self.is_met.done():
            if kind != Kind.HELLO or not hmac.compare_digest(body, self._address.actor_says):
                raise ProtocolViolation("whoever answers at a socket is not the actor that gave its address")
            self.is_met.set_result(None)
            return
        future = self._waiting.pop(number, None)
        if future is None or future.done():
            return  # whoever asked has given it up
        if kind == Kind.ANSWER:
            future.set_result(unpack(body))
        elif kind == Kind.ERROR:
            code, text = unpack_list(body)
            future.set_exception(self._as_raised(code, text))
        else:
            raise ProtocolViolation(f"an actor sends answers; this is of kind {kind}")

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._transport = None
        why = f"the local connection broke: {exc or 'the other end is gone'}"
        if not self.is_met.done():
            self.is_met.set_exception(Lost(why))
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(self._as_lost(why))
        self._on_lost()
