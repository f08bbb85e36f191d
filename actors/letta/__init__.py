"""The reference's two interfaces by name, for agent loops that were written against them.

`StreamingServerInterface` and `QueuingInterface` have the methods, signatures and attributes of the
classes of the same names in Letta 0.7.8 (`letta/server/rest_api/interface.py`); `Message` is a model of
the `msg_obj` that they take. They are thin: `actors.interface` decides. Each runs in one process, where
it makes messages itself, or publishes into the router: then `publish` is an open publisher, and every
call here becomes a call there.

    with router.publish("req-1", {"use_assistant_message": True}) as stream:
        interface = StreamingServerInterface(use_assistant_message=True, publish=stream)

Differences from the reference, on purpose: any thread may push, and a push wakes the reader at once; what
was not read when the stream ended can still be read; named errors replace asserts; known defects are mended.
"""

from actors.letta.message import (
    FunctionCall,
    Message,
    OmittedReasoningContent,
    OpenAIToolCall,
    OtherContent,
    ReasoningContent,
    RedactedReasoningContent,
    TextContent,
    ToolReturn,
)
from actors.letta.publisher import Publish
from actors.letta.queuing import QueuingInterface
from actors.letta.streaming import StreamingServerInterface

__all__ = [
    "FunctionCall",
    "Message",
    "OmittedReasoningContent",
    "OpenAIToolCall",
    "OtherContent",
    "Publish",
    "QueuingInterface",
    "ReasoningContent",
    "RedactedReasoningContent",
    "StreamingServerInterface",
    "TextContent",
    "ToolReturn",
]
