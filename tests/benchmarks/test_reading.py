"""What the reading process of the benchmarks keeps is the same in every format, so that every run checks what came."""

from __future__ import annotations

import zlib
from typing import Any

import pytest

from actors.stream.log import Log
from actors.translator import Translator
from benchmarks.chunks import stamped, stream_of, text_of
from benchmarks.processes import SETTINGS, Reading
from router.client.reading.batch import Shaper
from router.client.reading.inbox import Cursor


def batch_of(chunks: list[bytes], fmt: Any) -> Any:
    translator, log = Translator(SETTINGS, run_id="r"), Log()
    for chunk in chunks:
        log.append(translator.chunk(chunk))
    segments = Cursor(0).take(log.read(0, through=log.last_seq, bytes_max=1 << 20).segments, None)
    return Shaper(fmt, coalesce=False).shape(segments, log.last_seq)


@pytest.mark.parametrize("fmt", ["model", "struct", "dict", "packed"])
def test_every_message_is_looked_at(fmt: Any):
    reading, delays_s = Reading(), []
    reading.take(batch_of(stream_of(30), fmt), fmt, delays_s)
    assert (reading.count, reading.in_order, reading.last_seq_id) == (30, True, 30)
    assert reading.checksum == zlib.crc32(text_of(30).encode())
    assert delays_s == []


@pytest.mark.parametrize("fmt", ["model", "struct", "dict", "packed"])
def test_a_hole_is_seen_and_a_stamp_is_read(fmt: Any):
    reading, delays_s = Reading(), []
    reading.last_seq_id = 7
    reading.take(batch_of([stamped(5)], fmt), fmt, delays_s)
    assert not reading.in_order
    assert len(delays_s) == 1
