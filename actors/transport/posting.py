"""Calls through a socket that need not all be answered: the caller's end. The other is in `late_answers.py`.

Theory. A connection keeps the order, so one answer can say of all calls before it that they came. While little is
under way and nobody waits for what a call brings about, the next may follow at once: such calls are posted, and are
answered late, for all together. What is much, or waited for, is posted too, but asks to be answered at once, and
nothing follows it until then.

A connection that breaks, or is silent for too long, leaves what was not heard of with an unknown outcome. It is made
again in order, before anything else, by calls that are answered (`take_failed`): whoever is called must take nothing
twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from actors.protocol.frames import pack
from actors.transport.connection import Connection

T = TypeVar("T")

POSTS_MAX = 64
"""So many may be out without being waited for; beyond them, as beyond so many bytes, an answer is asked for."""

POSTED_BYTES_MAX = 32 * 1024

NOT_TAKEN = pack(None)
"""The answer of one that cannot take posts now: they are made again by calls that wait until it can."""

SILENCE_S = 2.0
"""What was not heard of for so long is made again. Late answers come much sooner."""


Post = tuple[T, int, float]
"""A call that was made, as its caller knows it: what it was, its bytes, and when it was sent by the loop's clock."""


class Posting(Generic[T]):
    """What was posted to one actor and not heard of.

    `on_heard`: it has come, with an answer if it has one of its own. `on_failed`: something is to be made again.
    """

    def __init__(
        self,
        on_heard: Callable[[T, Any], None],
        on_failed: Callable[[], None],
        bytes_max: int = POSTED_BYTES_MAX,
    ) -> None:
        """`bytes_max`: beyond so much that was not heard of, an answer is asked for."""
        self._bytes_max = min(bytes_max, POSTED_BYTES_MAX)
        self._on_heard = on_heard
        self._on_failed = on_failed
        # (To ask for the running loop is a system call in Python 3.11, and this is paid for every post.)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._out: dict[int, Post[T]] = {}
        self._out_bytes = 0
        self._failed: list[T] = []
        # Set while an answer is waited for.
        self._answered: asyncio.Future[None] | None = None
        self._silence: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def has_failed(self) -> bool:
        """Whether something is to be made again."""
        return bool(self._failed)

    def take_failed(self) -> list[T]:
        """Return what is to be made again, in order."""
        failed, self._failed = self._failed, []
        return failed

    def has_room(self, size_bytes: int) -> bool:
        """Whether so much more may go without being waited for."""
        return len(self._out) < POSTS_MAX and self._out_bytes + size_bytes <= self._bytes_max

    def post(
        self, connection: Connection, what: T, size_bytes: int, arguments: tuple[Any, ...], *, at_once: bool
    ) -> asyncio.Future[None] | None:
        """Call `post` with these, and `at_once`; return what is done when the next may follow, None: now.

        Where that fails, `has_failed` says so.
        """
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        try:
            number = connection.ask("post", (*arguments, at_once), self)
        except Exception as error:  # noqa: BLE001  # the connection is gone, or it cannot be packed
            self._give_up()
            self._failed.append(what)
            self.failed(error)
            return None
        self._out[number] = (what, size_bytes, loop.time())
        self._out_bytes += size_bytes
        if self._silence is None:
            self._silence = loop.call_later(SILENCE_S, self._look)
        if not at_once:
            return None
        self._answered = loop.create_future()
        return self._answered

    def _look(self) -> None:
        """Look whether what is out the longest is out for too long."""
        self._silence = None
        loop = asyncio.get_running_loop()
        for _, _, sent_at in self._out.values():
            if sent_at + SILENCE_S <= loop.time():
                self.failed(TimeoutError("no answer"))
            else:
                self._silence = loop.call_at(sent_at + SILENCE_S, self._look)
            return

    def close(self) -> None:
        """Make nothing again."""
        self._is_closed = True
        if self._silence is not None:
            self._silence.cancel()
        self.failed(ConnectionError("closed"))

    # --- as the connection's asker ------------------------------------------------------------

    def more(self, number: int, answer: Any) -> None:
        """See `Asker`."""
        self.last(number, answer)

    def last(self, number: int, answer: Any) -> None:
        """See `Asker`."""
        if number not in self._out:
            return
        if answer == NOT_TAKEN:
            self.failed(ConnectionError("not taken"))
            return
        heard = []
        for earlier in list(self._out):
            heard.append(self._out.pop(earlier))
            if earlier == number:
                break
        self._out_bytes -= sum(size_bytes for _, size_bytes, _ in heard)
        if not self._out:
            self._let_follow()
        for what, _, _ in heard[:-1]:
            self._on_heard(what, None)
        self._on_heard(heard[-1][0], answer)

    def failed(self, error: Exception) -> None:  # noqa: ARG002  # as `Asker` has it
        """See `Asker`."""
        self._give_up()
        if self._is_closed:
            self._failed.clear()
        self._let_follow()
        if self._failed:
            self._on_failed()

    def _give_up(self) -> None:
        self._failed += [what for what, _, _ in self._out.values()]
        self._out.clear()
        self._out_bytes = 0

    def _let_follow(self) -> None:
        if self._answered is not None:
            if not self._answered.done():
                self._answered.set_result(None)
            self._answered = None
