"""Provider adapters: the one place that knows what each provider's events look like.

`make_adapter("openai-chat")` gives an `Adapter`; `feed(event)` turns one decoded event into deltas,
`close()` gives what was held back when the stream is over. `make_adapter("auto")` tells the provider by
the first event that shows it.
"""

from __future__ import annotations

from actors.providers.adapter import Adapter
from actors.providers.anthropic import AnthropicAdapter
from actors.providers.detect import AutoAdapter
from actors.providers.gemini import GeminiAdapter
from actors.providers.openai_chat import OpenAIChatAdapter
from actors.providers.openai_responses import OpenAIResponsesAdapter
from actors.settings import Provider

__all__ = ["Adapter", "make_adapter"]


def make_adapter(provider: Provider) -> Adapter:
    """Return a new adapter for one stream of a provider ("auto": told by the first event)."""
    match provider:
        case "openai-chat":
            return OpenAIChatAdapter()
        case "openai-responses":
            return OpenAIResponsesAdapter()
        case "anthropic-messages":
            return AnthropicAdapter()
        case "gemini":
            return GeminiAdapter()
        case "auto":
            return AutoAdapter(make_adapter)
