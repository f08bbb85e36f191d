"""Route many agents' output streams through Ray actors to live readers.

    from router import StreamRouter, StreamSettings

The names below are loaded when they are first used, so that what needs no Ray (the command line's
help, `translate`) does not wait for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actors.errors import StreamRouterError
    from actors.settings import StreamSettings
    from router.batch import Batch, unpack_batch
    from router.client import Location, StreamRouter
    from router.config import RouterConfig, load_config
    from router.description import Description
    from router.publisher import Publisher
    from router.subscriber import Subscription

__all__ = [
    "Batch",
    "Description",
    "Location",
    "Publisher",
    "RouterConfig",
    "StreamRouter",
    "StreamRouterError",
    "StreamSettings",
    "Subscription",
    "load_config",
    "unpack_batch",
]

_HOMES = {
    "Batch": "router.batch",
    "Description": "router.description",
    "Location": "router.client",
    "Publisher": "router.publisher",
    "RouterConfig": "router.config",
    "StreamRouter": "router.client",
    "StreamRouterError": "actors.errors",
    "StreamSettings": "actors.settings",
    "Subscription": "router.subscriber",
    "load_config": "router.config",
    "unpack_batch": "router.batch",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return __all__
