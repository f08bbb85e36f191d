"""Route many agents' output streams through Ray actors to live readers.

from router import StreamRouter, StreamSettings
"""

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
