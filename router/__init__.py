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
    from router.client.batch import Batch, unpack_batch
    from router.client.publisher import Publisher
    from router.client.stream_router import StreamRouter
    from router.client.subscription import Subscription
    from router.client.whereabouts import Location
    from router.config import RouterConfig, load_config
    from router.status.overview import Description

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
    "Batch": "router.client.batch",
    "Description": "router.status.overview",
    "Location": "router.client.whereabouts",
    "Publisher": "router.client.publisher",
    "RouterConfig": "router.config",
    "StreamRouter": "router.client.stream_router",
    "StreamRouterError": "actors.errors",
    "StreamSettings": "actors.settings",
    "Subscription": "router.client.subscription",
    "load_config": "router.config",
    "unpack_batch": "router.client.batch",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return __all__
