"""Where chunks come from: HTTP providers, recordings played from memory, and the streams of frameworks.

The names below are loaded when they are first used: a publisher that pumps needs `frameworks` and no HTTP client.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from router.lazy_names import lazy_names

if TYPE_CHECKING:
    from router.sources.http import HttpProviderError, HttpSource, HttpTimeouts
    from router.sources.raw_bytes import events_of
    from router.sources.recorded import load_payloads, replay

__all__ = ["HttpProviderError", "HttpSource", "HttpTimeouts", "events_of", "load_payloads", "replay"]

__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "HttpProviderError": "router.sources.http",
        "HttpSource": "router.sources.http",
        "HttpTimeouts": "router.sources.http",
        "events_of": "router.sources.raw_bytes",
        "load_payloads": "router.sources.recorded",
        "replay": "router.sources.recorded",
    },
)
