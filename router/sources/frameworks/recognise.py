"""Whose events these are, told by the first of them: by the module of its class, or by its shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from router.sources.frameworks.instructions import Translation
from router.sources.frameworks.langchain import LangChain
from router.sources.frameworks.openai_agents import OpenAIAgents
from router.sources.frameworks.pydantic_ai import PydanticAI
from router.sources.frameworks.sdk import AnthropicHelper, Chunks, Google, OpenAIHelper
from router.sources.frameworks.vllm import VllmOutputs, is_output

# The module that an event's class comes from (the longest that fits counts), and what translates its like.
_BY_MODULE: dict[str, Callable[[], Translation]] = {
    "agents.stream_events": OpenAIAgents,
    "anthropic": AnthropicHelper,
    "google.genai": Google,
    "langchain_core": LangChain,
    "openai.lib.streaming": OpenAIHelper,
    "pydantic_ai": PydanticAI,
}


def translation_of(event: Any) -> Translation:
    """Return a new translation for a source whose first event this is."""
    for kind in type(event).__mro__:
        module = kind.__module__
        while module:
            make = _BY_MODULE.get(module)
            if make is not None:
                return make()
            module = module.rpartition(".")[0]
    if is_output(event):
        return VllmOutputs()
    return LangChain() if _is_langchain(event) else Chunks()


def _is_langchain(event: Any) -> bool:
    """Tell whether an event is one of `astream_events`, or one of `astream` in several modes."""
    if isinstance(event, Mapping):
        return {"event", "run_id", "data"} <= event.keys() or event.keys() >= {"type", "ns", "data"}
    return isinstance(event, tuple)
