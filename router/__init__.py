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
    from router.client.finding.listing import Listing, RequestInfo
    from router.client.launch.agent_run import AgentRun
    from router.client.publishing.publisher import Publisher
    from router.client.reading.batch import Batch, unpack_batch
    from router.client.reading.merge import Merge
    from router.client.reading.merging import Merged
    from router.client.reading.messages import Messages
    from router.client.reading.results import Results
    from router.client.reading.structs import MessageStruct
    from router.client.reading.subscription import Subscription
    from router.client.reading.whereabouts import Location
    from router.client.stream_router import StreamRouter
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
    "MessageStruct",
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
        "Batch": "router.client.reading.batch",
        "Description": "router.status.overview",
        "Listing": "router.client.finding.listing",
        "Location": "router.client.reading.whereabouts",
        "Merge": "router.client.reading.merge",
        "Merged": "router.client.reading.merging",
        "MessageStruct": "router.client.reading.structs",
        "Messages": "router.client.reading.messages",
        "Publisher": "router.client.publishing.publisher",
        "RequestFailed": "actors.errors",
        "RequestInfo": "router.client.finding.listing",
        "Result": "actors.result",
        "Results": "router.client.reading.results",
        "RouterConfig": "router.config",
        "StreamRouter": "router.client.stream_router",
        "StreamRouterError": "actors.errors",
        "StreamSettings": "actors.settings",
        "Subscription": "router.client.reading.subscription",
        "ToolCall": "actors.result",
        "load_config": "router.config",
        "unpack_batch": "router.client.reading.batch",
    },
)
