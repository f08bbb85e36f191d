"""Taps: one subscription for all readers, each from its own cursor; who is too slow falls out."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from actors.errors import RouterUnavailable
from gateway.figures import Count
from gateway.formats.form import Frame
from gateway.formats.native import NativeForm
from gateway.serving.reader import Reader
from gateway.serving.rounds import Rounds
from gateway.serving.tap import Interrupted, MakeForm, Tap, follow_alone
from gateway.serving.window import Behind, Window
from router import Batch
from tests.gateway.fakes import until
from tests.gateway.golden import bytes_of
from tests.gateway.said import FORMS, RECORDED, RUN, Pushed, batch_of, batches_of, frames_of_all, messages_of

FILE = next(file for file in RECORDED if file.stem == "openai-tool-2")
MESSAGES = messages_of(FILE)
WHOLE = b"".join(frame.data for frame in frames_of_all(NativeForm(RUN), MESSAGES))
LARGE = 1 << 20


class Written:
    """A function that takes everything."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    async def __call__(self, data: bytes) -> None:
        self.parts.append(data)

    @property
    def data(self) -> bytes:
        return b"".join(self.parts)


class Connection:
    """A reader's connection: a transport, and the reader's keeper."""

    def __init__(self, tap: Tap, after: int = 0, *, is_chunked: bool = False) -> None:
        self.parts: list[bytes] = []
        self.how: list[str] = []
        self.is_closed = False
        self.reader = Reader(self, "native", tap, after, is_chunked=is_chunked)
        tap.readers += 1
        self.reader.begin(cast("asyncio.Transport", self), b"", tap.form.opening)

    @property
    def data(self) -> bytes:
        return b"".join(self.parts).removeprefix(self.reader._tap.form.opening)

    def write(self, data: bytes) -> None:
        assert not self.is_closed
        self.parts.append(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self.is_closed = True

    def batches_with_pings(self, _: Tap) -> AsyncIterator[Batch[Any]]:
        return batches_of(MESSAGES, 3, 7, 8)

    def leave(self, tap: Tap) -> None:
        tap.readers -= 1

    def is_full(self, reader: Reader, *, is_full: bool) -> None:
        pass

    def ends(self, _: Reader, how: str) -> None:
        self.how.append(how)

    def lost(self, reader: Reader) -> None:
        pass


class Strange(Connection):
    """One that raises, in place of taking what is written."""

    is_strange = False
    cannot_be_closed = False
    tried = 0

    def write(self, data: bytes) -> None:
        if self.is_strange:
            self.tried += 1
            raise OSError("the connection is strange")
        super().write(data)

    def abort(self) -> None:
        if self.cannot_be_closed:
            raise OSError("and stays so")
        self.is_closed = True
        self.reader.connection_lost(None)


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


def tap_of(source: Source, window_bytes_max: int = LARGE, make_form: MakeForm = lambda: NativeForm(RUN)) -> Tap:
    tap = Tap((RUN, "native"), Pushed(source()), make_form, window_bytes_max, Count(), Rounds())
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
    tap = tap_of(source, make_form=FORMS[name])
    readers: list[tuple[int, Connection]] = []

    def come() -> None:
        after = rng.randint(0, len(messages))
        readers.append((after, Connection(tap, after)))

    def stall_some() -> None:
        for _, connection in readers:
            if rng.random() < 0.3 and not connection.is_closed:
                connection.reader.pause_writing()

    edges = sorted({0, len(messages), *(rng.randint(0, len(messages)) for _ in range(6))})
    for first, last in itertools.pairwise(edges):
        come()
        stall_some()
        source.put(batch_of(messages[first:last], end=last == len(messages)))
        await settle()
        for _, connection in readers:
            connection.reader.resume_writing()
    come()
    for after, connection in readers:
        assert connection.how == ["ended"]
        assert connection.data == b"".join(frame.data for frame in frames if frame.number > after)
        assert whole.endswith(connection.data)
    assert source.begun == 1
    assert tap.readers == 0
    tap.close()


async def test_the_bytes_of_a_batch_are_the_same_object_for_all_readers_and_of_http_11_one_chunk():
    source = Source()
    tap = tap_of(source)
    readers = [Connection(tap, is_chunked=True) for _ in range(3)]
    source.put(batch_of(MESSAGES[:4]))
    await settle()
    source.put(batch_of(MESSAGES[4:], end=True))
    await settle()
    told = [reader.parts[1:3] for reader in readers]
    assert len({id(part) for parts in told for part in parts}) == 2
    parts = [part.split(b"\r\n", 1) for part in told[0]]
    assert b"".join(data[:-2] for _, data in parts) == WHOLE
    assert [int(size, 16) for size, _ in parts] == [len(data) - 2 for _, data in parts]
    assert [reader.parts[3:] for reader in readers] == [[b"0\r\n\r\n"]] * 3
    assert tap.count.amount == 3 * len(WHOLE)  # what each has had, without what carries it


async def test_a_reader_whose_connection_is_full_holds_up_nobody_and_falls_out_of_the_window():
    source = Source()
    tap = tap_of(source, window_bytes_max=1)
    slow, quick = Connection(tap), Connection(tap)
    for message in MESSAGES:
        source.put(batch_of([message], end=message is MESSAGES[-1]))
        await settle()
        slow.reader.pause_writing()
    assert (quick.data, quick.how) == (WHOLE, ["ended"])
    assert slow.how == []
    slow.reader.resume_writing()
    assert (slow.how, slow.is_closed) == (["slow"], True)
    had, _, told = slow.data.partition(b": interrupted, slow_reader")
    assert WHOLE.startswith(had)
    assert told


async def test_a_reader_that_comes_to_a_stream_that_is_ahead_of_it_reads_by_itself_as_fast_as_it_takes():
    source = Source()
    tap = tap_of(source, window_bytes_max=1)
    for message in MESSAGES:
        source.put(batch_of([message], end=message is MESSAGES[-1]))
        await settle()
    reader = Connection(tap)
    reader.reader.pause_writing()
    await settle()
    begun = len(reader.parts)
    assert not reader.how
    reader.reader.resume_writing()
    await until(lambda: reader.is_closed)
    assert (reader.data, reader.how, tap.readers) == (WHOLE, ["ended"], 0)
    assert begun < len(reader.parts)


async def test_silence_gives_a_ping_to_all_also_to_those_whose_cursor_is_ahead():
    source = Source()
    tap = tap_of(source)
    readers = [Connection(tap), Connection(tap), Connection(tap, after=2)]
    tap.beat(1.0)
    assert [reader.data for reader in readers] == [b": ping\n\n"] * 3
    source.put(batch_of(MESSAGES, end=True))
    await settle()
    rest = b"".join(frame.data for frame in frames_of_all(NativeForm(RUN), MESSAGES)[2:])
    assert [reader.data.removeprefix(b": ping\n\n") for reader in readers] == [WHOLE, WHOLE, rest]


async def test_what_comes_in_one_turn_of_the_loop_is_written_at_once_and_behind_it_all():
    taps = [tap_of(Source()), tap_of(Source())]
    readers = [Connection(tap) for tap in taps]
    for tap in taps:
        tap._hear(batch_of(MESSAGES[:3]))
        tap._hear(batch_of(MESSAGES[3:5]))
    assert [reader.data for reader in readers] == [b"", b""]
    await settle()
    said = b"".join(frame.data for frame in frames_of_all(NativeForm(RUN), MESSAGES)[:5])
    assert [reader.parts[1:] for reader in readers] == [[said], [said]]


async def test_what_has_come_alone_is_written_without_waiting_for_a_round():
    tap = tap_of(Source())
    reader = Connection(tap)
    for message, frame in zip(MESSAGES[:2], frames_of_all(NativeForm(RUN), MESSAGES), strict=False):
        batch = batch_of([message])
        batch.is_lone = True
        tap._hear(batch)
        assert reader.parts[-1] == frame.data
    tap._hear(batch_of(MESSAGES[2:3]))
    tap._hear(batch)  # behind news that wait for their round
    assert len(reader.parts) == 3
    await settle()
    assert len(reader.parts) == 4


@pytest.mark.parametrize("after", [0, 2])
async def test_a_reader_that_cannot_be_written_to_ends_by_itself_and_others_of_its_stream_go_on(
    after: int, caplog: pytest.LogCaptureFixture
):
    source = Source()
    tap = tap_of(source)
    strange, good = Strange(tap, after), Connection(tap)
    strange.is_strange = True
    for message in MESSAGES:
        source.put(batch_of([message], end=message is MESSAGES[-1]))
        await settle()
    assert (strange.how, strange.is_closed) == (["interrupted"], True)
    assert (good.data, good.how) == (WHOLE, ["ended"])
    assert "others of its stream go on" in caplog.text


async def test_a_reader_that_cannot_even_be_closed_is_told_nothing_more(caplog: pytest.LogCaptureFixture):
    tap = tap_of(Source())
    strange, good = Strange(tap), Connection(tap)
    strange.is_strange = strange.cannot_be_closed = True
    tap.beat(1.0)
    tap.beat(2.0)
    assert good.data == b": ping\n\n" * 2
    assert strange.tried == 1
    assert "could not be closed either" in caplog.text


async def test_neither_a_ping_nor_a_break_comes_before_what_was_read_before_it():
    tap = tap_of(Source())
    reader = Connection(tap)
    tap._hear(batch_of(MESSAGES[:1]))
    tap.beat(1.0)
    tap._hear(batch_of(MESSAGES[1:2]))
    tap.interrupt(Interrupted("draining", "bye"))
    await settle()
    first, second = (frame.data for frame in frames_of_all(NativeForm(RUN), MESSAGES)[:2])
    assert reader.data == first + b": ping\n\n" + second + b": interrupted, draining: bye\n\n"


async def test_frames_that_are_not_shown_do_not_count_as_something_said():
    source = Source()
    tap = tap_of(source, make_form=lambda: NativeForm(RUN, frozenset({"stop_reason"})))
    begun_at_s = tap.said_at_s
    reader = Connection(tap)
    source.put(batch_of(MESSAGES[:1]))
    await settle()
    assert (tap.said_at_s, reader.data) == (begun_at_s, b"")
    source.put(batch_of(MESSAGES[1:], end=True))
    await settle()
    assert tap.said_at_s > begun_at_s


async def test_an_error_of_the_router_reaches_all_readers_behind_what_there_was():
    source = Source()
    tap = tap_of(source)
    source.put(batch_of(MESSAGES[:2]))
    source.put(RouterUnavailable("gone"))
    readers = [Connection(tap)]
    await settle()
    readers.append(Connection(tap))
    said = b"".join(frame.data for frame in frames_of_all(NativeForm(RUN), MESSAGES)[:2])
    for reader in readers:
        assert reader.how == ["interrupted"]
        assert reader.data == said + b": interrupted, router_unavailable: gone\n\n"
    assert tap.is_broken


async def test_a_draining_gateway_ends_readers_but_not_those_that_have_all():
    tap = tap_of(Source())
    waiting = Connection(tap)
    tap.interrupt(Interrupted("draining", "bye"))
    assert waiting.how == ["interrupted"]
    source = Source()
    ended = tap_of(source)
    source.put(batch_of(MESSAGES, end=True))
    await settle()
    ended.interrupt(Interrupted("draining", "bye"))
    assert Connection(ended).how == ["ended"]


async def test_a_fault_in_a_format_ends_the_stream_by_name(caplog: pytest.LogCaptureFixture):
    source = Source()
    tap = tap_of(source)
    source.put(Batch([{"message_type": "assistant_message"}], 1))  # without what every message has
    reader = Connection(tap)
    await settle()
    assert b"interrupted, internal_error: the gateway failed" in reader.data
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
        assert window.add([Frame(number, b"%030d" % number)]) == b"%030d" % number
    assert window.dropped_through == 7
    with pytest.raises(Behind):
        window.after(6)
    assert window.after(7) == (b"".join(b"%030d" % number for number in (8, 9, 10)), 10)
    assert window.after(10) == (b"", 10)
    assert window.after(99) == (b"", 99)


def test_what_comes_together_and_is_larger_than_the_window_is_kept_whole():
    window = Window(10)
    window.add([Frame(1, b"x" * 25), Frame(1, b"x" * 25)])
    assert window.after(0) == (b"x" * 50, 1)
