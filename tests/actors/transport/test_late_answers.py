"""Late answers: one says that all calls before it came, and one that cannot be given keeps no other back."""

from __future__ import annotations

import asyncio

from actors.transport import late_answers
from actors.transport.late_answers import LateAnswers


async def test_one_that_cannot_be_given_keeps_no_other_back(monkeypatch):
    monkeypatch.setattr(late_answers, "LATE_S", 0.0)
    monkeypatch.setattr(late_answers, "RING_S", 0.001)
    late, given = LateAnswers(), asyncio.Event()

    def broken() -> None:
        raise ValueError("nothing to say")

    late.owe("broken", broken)
    late.owe("well", given.set)
    async with asyncio.timeout(10):
        await given.wait()
        given.clear()
        late.owe("again", given.set)
        await given.wait()
