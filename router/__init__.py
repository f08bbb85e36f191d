"""Route many agents' output streams through Ray actors to live readers.

    from router import StreamRouter, StreamSettings

The names below are loaded when they are first used, so that what needs no Ray (the command line's
help, `translate`) does not wait for it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from router.lazy_names import lazy_names

if TYPE_CHECKING:
    from actors.errors import RequestFailed, StreamRouterError
    from actors.result import Result, ToolCall
    from actors.settings import StreamSettings
    from router.client.batch import Batch, unpack_batch
    from router.client.launch.agent_run import AgentRun
    from router.client.listing import Listing, RequestInfo
    from router.client.merge import Merge
    from router.client.merging import Merged
    from router.client.messages import Messages
    from router.client.publisher import Publisher
    from router.client.results import Results
    from router.client.stream_router import StreamRouter
    from router.client.subscription import Subscription
    from router.client.whereabouts import Location
    from router.config import RouterConfig, load_config
    from router.status.overview import Description

__all__ = [
    "AgentRun",
    "Batch",
    "Description",
    "Listing",
    "Location",
    "Merge",
    "Merged",
    "Messages",
    "Publisher",
    "RequestFailed",
    "RequestInfo",
    "Result",
    "Results",
    "RouterConfig",
    "StreamRouter",
    "StreamRouterError",
    "StreamSettings",
    "Subscription",
    "ToolCall",
    "load_config",
    "unpack_batch",
]

__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AgentRun": "router.client.launch.agent_run",
        "Batch": "router.client.batch",
        "Description": "router.status.overview",
        "Listing": "router.client.listing",
        "Location": "router.client.whereabouts",
        "Merge": "router.client.merge",
        "Merged": "router.client.merging",
        "Messages": "router.client.messages",
        "Publisher": "router.client.publisher",
        "RequestFailed": "actors.errors",
        "RequestInfo": "router.client.listing",
        "Result": "actors.result",
        "Results": "router.client.results",
        "RouterConfig": "router.config",
        "StreamRouter": "router.client.stream_router",
        "StreamRouterError": "actors.errors",
        "StreamSettings": "actors.settings",
        "Subscription": "router.client.subscription",
        "ToolCall": "actors.result",
        "load_config": "router.config",
        "unpack_batch": "router.client.batch",
    },
)
