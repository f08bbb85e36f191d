"""Calls through a socket to an actor of the same node (`local.py`) or of another (`network.py`).

`Connection` is the caller's end; the actor's is in `door.py`. A connection that breaks says nothing about what became
of the calls on it: they fail as calls through Ray fail whose outcome is unknown, and are made again.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from actors.errors import ProtocolViolation
from actors.protocol.frames import unpack, unpack_list
from actors.transport import local, network
from actors.transport.meeting import LOCAL, Address
from actors.transport.stream_codec import NUMBERS, Kind, StreamDecoder, encode, encode_call

log: logging.Logger = logging.getLogger("actors.transport")

MEET_DEADLINE_S = 5.0
CONNECT_DEADLINE_S = 1.0
PART_BYTES = 32 * 1024
"""So much of what is large is given to a transport at a time."""


class Lost(ConnectionError):
    """The connection is gone; what became of the call is unknown."""


class Asker(Protocol):
    """Whoever makes calls that may have many answers."""

    def more(self, number: int, answer: Any) -> None:
        """Take an answer to the call of that number; calls before it are answered too."""
        ...

    def last(self, number: int, answer: Any) -> None:
        """Take the last answer to the call of that number."""
        ...

    def failed(self, error: Exception) -> None:
        """No further answer comes to any call."""
        ...


class End(asyncio.Protocol, ABC):
    """One end of a connection. It goes with the event loop that it is in."""

    def __init__(self) -> None:
        self._decoder = StreamDecoder()
        self._transport: asyncio.Transport | None = None
        self._standing: asyncio.Task[None] | None = None
        # What the transport is not given before it has sent what it has.
        self._waiting_parts: deque[memoryview] = deque()
        self._is_full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        writing: asyncio.Transport = transport  # type: ignore[assignment]  # a stream's transport is one that writes
        writing.set_write_buffer_limits(high=1)  # `pause_writing` as soon as anything is left with it
        self._transport = writing
        # A loop that ends tells its tasks, and no transport: one that nobody closes stays open until it is collected.
        self._standing = asyncio.get_running_loop().create_task(_stand_still())
        self._standing.add_done_callback(lambda _: self.close())
        connected = transport.get_extra_info("socket")
        if connected is not None and connected.family != socket.AF_UNIX:
            network.notice_silence(connected)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """See asyncio."""
        self._transport = None
        self._waiting_parts.clear()
        if self._standing is not None:
            self._standing.cancel()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        try:
            for number, kind, body in self._decoder.feed(data):
                self.take(number, kind, body)
        except ProtocolViolation as error:
            log.warning("a connection ends: %s", error)
            self.close()

    @abstractmethod
    def take(self, number: int, kind: int, body: bytes) -> None:
        """Take one message. Raises ProtocolViolation."""

    def write(self, parts: Sequence[bytes]) -> None:
        """Send a message; what is sent to an end that is closed is lost with it."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if len(parts) == 1 and not self._waiting_parts:  # as most are
            transport.write(parts[0])
            return
        self._waiting_parts.extend(map(memoryview, parts))
        self._send_parts(transport)

    def _send_parts(self, transport: asyncio.Transport) -> None:
        """Send of what waits as much as is taken at once.

        A transport copies what its socket does not take, and copies it again behind what waits already. With megabytes
        at a time that is dearer than to send them, so while anything is left of one part the next one is not given.
        """
        waiting = self._waiting_parts
        while waiting and not self._is_full and not transport.is_closing():
            part = waiting.popleft()
            if len(part) > PART_BYTES:
                waiting.appendleft(part[PART_BYTES:])
                part = part[:PART_BYTES]
            transport.write(part)

    def pause_writing(self) -> None:
        """See asyncio."""
        self._is_full = True

    def resume_writing(self) -> None:
        """See asyncio."""
        self._is_full = False
        if self._transport is not None:
            self._send_parts(self._transport)

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()


async def _stand_still() -> None:
    await asyncio.get_running_loop().create_future()


class Connection(End):
    """A caller's end of a connection to an actor. `on_lost`: called once, when it is gone."""

    def __init__(
        self,
        address: Address,
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
        # Calls that may have many answers, in the order in which they were made, and who has made them.
        self._asked: deque[int] = deque()
        self._asker: Asker | None = None
        self.means: str = address.means
        self.is_met: asyncio.Future[None] = self._loop.create_future()

    @classmethod
    async def to(cls, address: Address, *hooks: Any) -> Connection:
        """Meet an actor at an address. Raises OSError, TimeoutError."""
        made = cls(address, *hooks)
        await (made._connect_locally() if address.means == LOCAL else made._connect_over_network())
        made.write(encode(0, Kind.HELLO, address.asker_says))
        try:
            await asyncio.wait_for(made.is_met, MEET_DEADLINE_S)
        except BaseException:  # a cancel too
            made.close()
            raise
        return made

    async def _connect_locally(self) -> None:
        connecting = local.connect(self._address)
        try:
            await self._loop.create_connection(lambda: self, sock=connecting)
        except BaseException:  # a cancel too
            self.close()
            connecting.close()
            raise

    async def _connect_over_network(self) -> None:
        host, port = self._address.place, int(self._address.name)
        context = network.tls(is_asker=True)
        try:
            async with asyncio.timeout(CONNECT_DEADLINE_S):
                await self._loop.create_connection(lambda: self, host, port, ssl=context)
        except BaseException:  # a cancel too
            self.close()
            raise

    def call(self, method: str, arguments: tuple[Any, ...]) -> asyncio.Future[Any]:
        """Call a method; the future has what it returned, or the error."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._transport is None:
            future.set_exception(self._as_lost("the connection is gone"))
            return future
        self._numbers = number = (self._numbers + 1) % NUMBERS
        parts = encode_call(number, method, arguments)  # what cannot be packed leaves nobody waiting
        self._waiting[number] = future
        self.write(parts)
        return future

    def ask(self, method: str, arguments: tuple[Any, ...], asker: Asker) -> int:
        """Call a method that may answer many times; return the call's number. Those of another asker are given up.

        Raises the error that a call raises whose outcome is unknown.
        """
        if self._transport is None:
            raise self._as_lost("the connection is gone")
        if self._asker is not asker:
            self._asked.clear()
            self._asker = asker
        self._numbers = number = (self._numbers + 1) % NUMBERS
        parts = encode_call(number, method, arguments)
        self._asked.append(number)
        self.write(parts)
        return number

    def take(self, number: int, kind: int, body: bytes) -> None:
        """Take an answer, or first of all what shows that this is the actor."""
        if not self.is_met.done():
            if kind != Kind.HELLO or not hmac.compare_digest(body, self._address.actor_says):
                raise ProtocolViolation("whoever answers at a socket is not the actor that gave its address")
            self.is_met.set_result(None)
            return
        if kind == Kind.MORE and self._asker is not None and self._asked and self._asked[0] == number:
            self._asker.more(number, unpack(body))  # most of what comes
            return
        if number in self._asked and self._asker is not None:
            self._answer_asker(self._asker, number, kind, body)
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

    def _answer_asker(self, asker: Asker, number: int, kind: int, body: bytes) -> None:
        while self._asked[0] != number:
            self._asked.popleft()
        if kind == Kind.MORE:
            asker.more(number, unpack(body))
            return
        self._asked.popleft()
        if kind == Kind.ANSWER:
            asker.last(number, unpack(body))
        else:
            code, text = unpack_list(body)
            asker.failed(self._as_raised(code, text))

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        super().connection_lost(exc)
        why = f"the connection broke: {exc or 'the other end is gone'}"
        if not self.is_met.done():
            self.is_met.set_exception(Lost(why))
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(self._as_lost(why))
        if self._asker is not None:
            self._asked.clear()
            self._asker.failed(self._as_lost(why))
        self._on_lost()
