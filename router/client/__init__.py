"""The front door: what a driver, task or actor uses to publish, read and cancel requests."""

from router.client.stream_router import StreamRouter
from router.client.whereabouts import Location

__all__ = ["Location", "StreamRouter"]
