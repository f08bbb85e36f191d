"""A round writes all that have news, whatever one of them does."""

from __future__ import annotations

import asyncio

from gateway.serving.rounds import Rounds


class Stream:
    """Counts what happens to it."""

    def __init__(self, *, fails: bool = False) -> None:
        self.written = 0
        self.broken = 0
        self._fails = fails

    def write(self, _now_s: float) -> None:
        if self._fails:
            raise OSError("the connection is strange")
        self.written += 1

    def break_off(self) -> None:
        self.broken += 1
        if self.broken > 1:
            raise OSError("its readers are strange too")


async def test_one_that_cannot_be_written_ends_by_itself_and_the_others_of_its_round_are_written(caplog):
    rounds, first, strange, last = Rounds(), Stream(), Stream(fails=True), Stream()
    for stream in (first, strange, last):
        rounds.join(stream)
    await asyncio.sleep(0)
    assert [(one.written, one.broken) for one in (first, strange, last)] == [(1, 0), (0, 1), (1, 0)]
    assert "could not be written" in caplog.text
    for stream in (strange, first):
        rounds.join(stream)
    await asyncio.sleep(0)
    assert first.written == 2
    assert "could not be ended either" in caplog.text
