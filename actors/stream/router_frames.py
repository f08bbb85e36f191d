"""Whose frames a stream actor takes, and which it has taken. Pure.

One incarnation of the router is heard, the one that began last, and each of its frames is taken once. The answer to
the last frame is kept, so that reports can ride in an answer that may be lost.
"""

from __future__ import annotations

from collections import deque

from actors.protocol.frames import pack
from actors.protocol.reads import NOTHING
from actors.stream.refusals import Refusals

# How many incarnations of the router are remembered as former ones.
FORMER_ROUTERS_MAX = 64

NOT_MY_ROUTER = pack(None)
"""The answer to a frame of a router that has not begun here, or that another one has followed."""


class RouterFrames:
    """The frames of the router that is heard."""

    __slots__ = ("_answer", "_former", "_frame_no", "_refusals", "_router")

    def __init__(self, refusals: Refusals) -> None:
        self._refusals = refusals
        self._router = ""
        # Incarnations that another one has followed, the latest last.
        self._former: deque[str] = deque(maxlen=FORMER_ROUTERS_MAX)
        self._frame_no = 0
        self._answer = NOT_MY_ROUTER

    def begin(self, router: str) -> bool:
        """Hear this incarnation of the router from now on, and no other.

        False for one that another has followed: its word was on its way when it died, or it lives on where
        nobody sees it. Obeying it would let its late frames in, and what they did nobody would ever undo.
        """
        if router in self._former:
            self._refusals.refuse("router", f"a start by router {router[:40]!r}, which another one has followed")
            return False
        if router != self._router:
            if self._router:
                self._former.append(self._router)
            self._router = router
            self._frame_no = 0
            self._answer = NOT_MY_ROUTER
        return True

    def enter(self, router: str, frame_no: int) -> bool | None:
        """Note a frame; whether it is new and is to be taken, None where it is NOT_MY_ROUTER."""
        if router != self._router:
            self._refusals.refuse("router", f"a frame of router {router[:40]!r}, which is not the one that began last")
            return None
        if frame_no <= self._frame_no:
            return False
        self._frame_no = frame_no
        self._answer = NOTHING
        return True

    def answered(self, answer: bytes) -> None:
        """Keep the answer to the frame that was taken last."""
        self._answer = answer

    def answer_to(self, frame_no: int) -> bytes:
        """Return the answer to a frame that has entered."""
        return NOTHING if frame_no < self._frame_no else self._answer
