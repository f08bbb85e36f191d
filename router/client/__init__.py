"""The front door: what a driver, task or actor uses to publish, read and cancel requests."""

from router.client.stream_router import Location, StreamRouter

__all__ = ["Location", "StreamRouter"]
