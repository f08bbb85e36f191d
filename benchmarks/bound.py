"""What the same chunks cost in one process without Ray: the work that no carrier can leave out.

A stream's chunks are packed and unpacked once (publisher to session), translated, logged, read,
packed and unpacked once more (session to reader). No process boundary, no event loop, no calls.
Times two cores: a carrier that spread exactly this work over both without any cost of its own.
"""

from __future__ import annotations

import gc
import time

from actors.protocol import frames as wire
from actors.stream.log import Log
from actors.translator import Translator
from benchmarks.chunks import stream_of
from benchmarks.processes import SETTINGS
from router.client.reading.batch import Shaper
from router.client.reading.inbox import Cursor

GROUP = 32
STREAMS = 64


def chunks_per_s(chunks: int, *, to_messages: bool) -> float:
    """Return how many chunks one process gets through a second; with or without making the reader's models."""
    per_stream = chunks // STREAMS // GROUP * GROUP
    sent = stream_of(per_stream)
    groups = [sent[at : at + GROUP] for at in range(0, per_stream, GROUP)]
    rows = [
        (Translator(SETTINGS, run_id=f"bound-{n}"), Log(), Cursor(0), Shaper("model", coalesce=False))
        for n in range(STREAMS)
    ]
    gc.collect()
    start = time.perf_counter()
    for group in groups:
        for translator, log, cursor, shaper in rows:
            for chunk in wire.unpack(wire.pack(group)):
                log.append(translator.chunk(chunk))
            reading = log.read(cursor.last_seq_id, through=log.last_seq, bytes_max=1 << 20)
            segments = cursor.take(wire.unpack(wire.pack(reading.segments)), None)
            log.release(cursor.last_seq_id)
            if to_messages:
                shaper.shape(segments, cursor.last_seq_id)
    took_s = time.perf_counter() - start
    if any(cursor.last_seq_id != per_stream for _, _, cursor, _ in rows):
        raise RuntimeError("the bound did not carry every chunk")
    return STREAMS * per_stream / took_s
