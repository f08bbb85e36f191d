"""The demo: recorded provider streams over real HTTP through a router to readers, checked at the end."""

from router.sources.recorded import PACKAGED as RECORDINGS

__all__ = ["RECORDINGS"]
