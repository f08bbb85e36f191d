"""What a silent stream holds on its stream actor, in bytes: opened, read, one chunk said and acknowledged."""

from __future__ import annotations

import gc
import tracemalloc

from host_driver import Driver, text

from actors.protocol.reads import Operation

STREAMS = 400
# Measured 3,260; two empty sets or tables of one (some 220 bytes each) would be seen.
BYTES_MAX = 3_600


def hold(driver: Driver, first: int, count: int) -> None:
    for number in range(first, first + count):
        request_id = f"request-{number}"
        driver.open(request_id, stall_timeout_s=None)
        driver.subscribe("reader", number, request_id)
        driver.say(request_id, text("word"))
        assert driver.poll("reader") is not None
        driver.operate("reader", Operation.CONSUMED, number, 1)
    # The driver's own notes do not count.
    driver._next_seq.clear()


def test_a_silent_stream_holds_little() -> None:
    driver = Driver()
    hold(driver, 1, STREAMS)
    gc.collect()
    tracemalloc.start()
    try:
        hold(driver, 1 + STREAMS, STREAMS)
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held / STREAMS < BYTES_MAX
