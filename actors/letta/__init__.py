"""Letta's two streaming interfaces by name, over the same core."""

from actors.letta.interfaces import (
    FunctionCall,
    Message,
    OmittedReasoningContent,
    OpenAIToolCall,
    OtherContent,
    Publish,
    QueuingInterface,
    ReasoningContent,
    RedactedReasoningContent,
    StreamingServerInterface,
    TextContent,
    ToolReturn,
)

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
