"""What each peer in this comparison does not do. Without it a figure beside ours says nothing."""

from __future__ import annotations

LACKS: dict[str, str] = {
    "naive": (
        "no batches and no credit; what its actor held is lost when that dies, and nobody sends it again; no second "
        "copy, no terminal that is always there"
    ),
    "ray_queue": (
        "raw bytes, no typed messages; one reader takes an item from all others; no cursor to resume at; items die "
        "with the queue's actor; its bound counts items, not bytes"
    ),
    "serve_streaming": (
        "one caller to one replica: no publisher elsewhere, no second reader, no cursor to resume at; a stream whose "
        "replica dies ends with an error, and what was generated is gone; items wait in the caller, by number"
    ),
    "redis_streams": (
        "here nothing is on disk and nothing is trimmed, so a crash loses all and memory has no bound; raw bytes, no "
        "typed messages; no credit to the producer; a resend after a broken connection comes twice"
    ),
    "nats_jetstream": (
        "here in memory, one server; raw bytes, no typed messages; no credit to the producer by what readers have "
        "consumed; once over crashes only where each message bears an id, within a window of time"
    ),
}
"""By the names under which the figures stand."""
