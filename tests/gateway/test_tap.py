"""Taps: one subscription for all readers, each from its own cursor; who is too slow falls out."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors.errors import RouterUnavailable
from gateway.formats.native import NativeForm
from gateway.serving.tap import Behind, Block, Interrupted, Tap, Window, follow_alone
from router import Batch
from tests.gateway.golden import bytes_of
from tests.gateway.said import FORMS, RECORDED, RUN, batch_of, batches_of, frames_of_all, messages_of

FILE = next(file for file in RECORDED if file.stem == "openai-tool-2")
MESSAGES = messages_of(FILE)
WHOLE = b"".join(frame.data for frame in frames_of_all(NativeForm(RUN), MESSAGES))
LARGE = 1 << 20


class Written:
    """A reader that takes everything."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    async def __call__(self, data: bytes) -> None:
        self.parts.append(data)

    @property
    def data(self) -> bytes:
        return b"".join(self.parts)


class Source:
    """Gives batches when it is told to."""

    def __init__(self) -> None:
        self._batches: asyncio.Queue[Batch[Any] | Exception | None] = asyncio.Queue()
        self.begun = 0

    def put(self, batch: Batch[Any] | Exception | None) -> None:
        self._batches.put_nowait(batch)

    async def __call__(self) -> AsyncIterator[Batch[Any]]:
        self.begun += 1
        while (batch := await self._batches.get()) is not None:
            if isinstance(batch, Exception):
                raise batch
            yield batch


async def settle() -> None:
    """Let everything that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


def tap_of(source: Source, window_bytes_max: int = LARGE, heartbeat_s: float = 60.0) -> Tap:
    tap = Tap(source, NativeForm(RUN), window_bytes_max, heartbeat_s)
    tap.begin()
    return tap


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("seed", range(5))
async def test_readers_that_come_at_any_time_with_any_cursor_get_the_rest_of_the_same_bytes(name: str, seed: int):
    rng = random.Random(seed)
    file = rng.choice(RECORDED)
    messages = messages_of(file)
    whole = bytes_of(file, name).removeprefix(FORMS[name]().opening)
    frames = frames_of_all(FORMS[name](), messages)
    source = Source()
    tap = Tap(source, FORMS[name](), LARGE, 60.0)
    tap.begin()
    readers: list[tuple[int, Written, asyncio.Task[None]]] = []

    def come() -> None:
        after, written = rng.randint(0, len(messages)), Written()
        readers.append((after, written, asyncio.create_task(tap.follow(after, written))))

    edges = sorted({0, len(messages), *(rng.randint(0, len(messages)) for _ in range(6))})
    for first, last in itertools.pairwise(edges):
        come()
        source.put(batch_of(messages[first:last], end=last == len(messages)))
        await settle()
    come()
    await asyncio.gather(*(task for _, _, task in readers))
    for after, written, _ in readers:
        assert written.data == b"".join(frame.data for frame in frames if frame.number > after)
        assert whole.endswith(written.data)
    assert source.begun == 1
    await tap.close()


async def test_the_bytes_of_the_newest_batch_are_the_same_object_for_all_readers():
    source = Source()
    tap = tap_of(source)
    readers = [Written() for _ in range(3)]
    tasks = [asyncio.create_task(tap.follow(0, written)) for written in readers]
    source.put(batch_of(MESSAGES[:4]))
    await settle()
    source.put(batch_of(MESSAGES[4:], end=True))
    await asyncio.gather(*tasks)
    assert len({id(part) for written in readers for part in written.parts}) == len(readers[0].parts) == 2


async def test_a_reader_that_is_slow_falls_out_and_holds_up_nobody():
    source = Source()
    tap = tap_of(source, window_bytes_max=1)
    may_go_on = asyncio.Event()
    slow_has: list[bytes] = []

    async def slowly(data: bytes) -> None:
        slow_has.append(data)
        await may_go_on.wait()

    slow = asyncio.create_task(tap.follow(0, slowly))
    quick = Written()
    quickly = asyncio.create_task(tap.follow(0, quick))
    for message in MESSAGES:
        source.put(batch_of([message], end=message is MESSAGES[-1]))
        await settle()
    await quickly
    assert quick.data == WHOLE
    may_go_on.set()
    with pytest.raises(Behind) as caught:
        await slow
    assert not caught.value.had_all  # it came to a stream that was ahead of it from the first
    assert WHOLE.startswith(b"".join(slow_has))
    await tap.close()


async def test_who_was_up_to_date_and_falls_out_is_told_from_who_has_yet_to_catch_up():
    source = Source()
    tap = tap_of(source, window_bytes_max=1)
    goes_on = asyncio.Event()
    goes_on.set()

    async def write(_: bytes) -> None:
        await goes_on.wait()

    reader = asyncio.create_task(tap.follow(0, write))
    source.put(batch_of(MESSAGES[:1]))
    await settle()
    goes_on.clear()
    for message in MESSAGES[1:5]:
        source.put(batch_of([message]))
        await settle()
    goes_on.set()
    with pytest.raises(Behind) as caught:
        await reader
    assert caught.value.had_all
    assert caught.value.after == 2
    await tap.close()


async def test_silence_gives_one_ping_to_all_and_so_do_messages_that_are_not_shown():
    source = Source()
    tap = Tap(source, NativeForm(RUN, frozenset({"stop_reason"})), LARGE, 0.0)
    tap.begin()
    readers = [Written(), Written()]
    tasks = [asyncio.create_task(tap.follow(0, written)) for written in readers]
    await settle()
    source.put(Batch([{"message_type": "ping"}], 0))
    await settle()
    source.put(batch_of(MESSAGES[:1]))
    await settle()
    assert [written.data for written in readers] == [b": ping\n\n" * 2] * 2
    source.put(batch_of(MESSAGES[1:], end=True))
    await asyncio.gather(*tasks)


async def test_an_error_of_the_router_reaches_all_readers_behind_what_there_was():
    source = Source()
    tap = tap_of(source)
    source.put(batch_of(MESSAGES[:2]))
    source.put(RouterUnavailable("gone"))
    written = Written()
    with pytest.raises(Interrupted) as caught:
        await tap.follow(0, written)
    assert (caught.value.code, caught.value.text) == ("router_unavailable", "gone")
    assert written.data == b"".join(frame.data for frame in frames_of_all(NativeForm(RUN), MESSAGES)[:2])
    assert tap.is_broken


async def test_a_draining_gateway_ends_readers_but_not_those_that_have_all():
    source = Source()
    tap = tap_of(source)
    waiting = asyncio.create_task(tap.follow(0, Written()))
    await settle()
    tap.interrupt("draining", "bye")
    with pytest.raises(Interrupted):
        await waiting
    ended = tap_of(source)
    source.put(batch_of(MESSAGES, end=True))
    await settle()
    ended.interrupt("draining", "bye")
    await ended.follow(0, Written())


async def test_a_fault_in_a_format_ends_the_stream_by_name(caplog: pytest.LogCaptureFixture):
    source = Source()
    tap = tap_of(source)
    source.put(Batch([{"message_type": "assistant_message"}], 1))  # without what every message has
    with pytest.raises(Interrupted, match="the gateway failed"):
        await tap.follow(0, Written())
    assert "KeyError" in caplog.text


@pytest.mark.parametrize("after", range(len(MESSAGES) + 2))
async def test_who_reads_alone_gets_the_same(after: int):
    written = Written()
    await follow_alone(batches_of(MESSAGES, 3, 7, 8), NativeForm(RUN), after, written)
    frames = frames_of_all(NativeForm(RUN), MESSAGES)
    assert written.data == b"".join(frame.data for frame in frames if frame.number > after)


def test_a_window_keeps_the_newest_bytes_and_says_what_it_dropped():
    window = Window(100)
    for number in range(1, 11):
        window.add(Block([b"%030d" % number][0], [number], [0]))
    assert window.dropped_through == 7
    with pytest.raises(Behind):
        window.after(6)
    assert window.after(7) == (b"".join(b"%030d" % number for number in (8, 9, 10)), 10)
    assert window.after(10) == (b"", 10)
    assert window.after(99) == (b"", 99)


def test_one_block_larger_than_the_window_is_kept_whole():
    window = Window(10)
    window.add(Block(b"x" * 50, [1], [0]))
    assert window.after(0) == (b"x" * 50, 1)
