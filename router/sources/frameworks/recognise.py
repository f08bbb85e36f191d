"""Whose events these are, told by the first of them: by the module of its class, or by its shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from actors.errors import InvalidArgument
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
    """Return a new translation for a source whose first event this is.

    Raises InvalidArgument for a stream of a known framework that has no messages in it.
    """
    for module in _modules_of(event):
        make = _BY_MODULE.get(module)
        if make is not None:
            return make()
    if is_output(event):
        return VllmOutputs()
    if isinstance(event, Mapping):
        _refuse_states(event)
    return LangChain() if _is_langchain(event) else Chunks()


def _modules_of(event: Any) -> Iterator[str]:
    """Iterate over the modules of an object's class and of those above it, each with the packages it is in."""
    for kind in type(event).__mro__:
        module = kind.__module__
        while module:
            yield module
            module = module.rpartition(".")[0]


def _is_langchain(event: Any) -> bool:
    """Tell whether an event is one of `astream_events`, or one of `astream` in several modes."""
    if isinstance(event, Mapping):
        return {"event", "run_id", "data"} <= event.keys() or event.keys() >= {"type", "ns", "data"}
    return isinstance(event, tuple)


def _refuse_states(event: Mapping[str, Any]) -> None:
    if event.get("type") == "event" and {"method", "params"} <= event.keys():
        raise InvalidArgument(
            "Publisher.pump: these are LangGraph's events of version 'v3'; pump graph.astream_events(..., version='v2')"
        )
    # A state, or what each node made of it.
    for state in (event, *event.values()):
        messages = state.get("messages") if isinstance(state, Mapping) else None
        for message in messages if isinstance(messages, list) else (messages,):
            if "langchain_core" in _modules_of(message):
                raise InvalidArgument(
                    "Publisher.pump: these are states of a LangGraph graph, not what its models say; "
                    "pump graph.astream(..., stream_mode='messages') or graph.astream_events(..., version='v2')"
                )
