"""The front door: what a driver, task or actor uses to publish, read and cancel requests."""

from router.client.reading.whereabouts import Location
from router.client.stream_router import StreamRouter

__all__ = ["Location", "StreamRouter"]
