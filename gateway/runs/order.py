"""What a client wants to have run, as it crosses to where it runs. Pure but for the import of the agent's module."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from actors.errors import ConfigError, InvalidArgument
from actors.settings import StreamSettings, explain
from gateway.config import AgentConfig
from router.runs.endpoint import Endpoint
from router.runs.requests import Request

AGENT_TAG = "agent"
"""The tag that names a run's agent. (Of one `agent_id`, one request runs at a time; an agent here may have many.)"""

THREAD_TAG = "thread"
"""The tag that names the conversation that a run belongs to, where its client has a name for that."""


class Order(NamedTuple):
    """One run."""

    request_id: str
    name: str
    """The agent's, in the configuration."""
    agent: AgentConfig
    input: dict[str, Any]
    key: str | None
    """Of the provider, where the agent is one."""
    tags: Mapping[str, str]
    metadata: Mapping[str, Any]
    agent_id: str | None = None
    tenant: str | None = None
    """Whose run it is, of a service with tenants."""
    tenant_runs_max: int | None = None
    """So many runs of one tenant may be under way."""
    traceparent: str | None = None
    """The span in which it was asked for."""

    @property
    def full_id(self) -> str:
        """The request's ID as who sees all has it."""
        return self._full(self.request_id)

    @property
    def full_agent_id(self) -> str | None:
        """The agent's ID as who sees all has it."""
        return None if self.agent_id is None else self._full(self.agent_id)

    def settings(self, of_service: StreamSettings) -> StreamSettings:
        """Return the settings of its request. `of_service`: where its agent has none of its own."""
        own = self.agent.stream_settings
        chosen = of_service if own is None else StreamSettings.load(own)
        return chosen if self.traceparent is None else chosen.model_copy(update={"traceparent": self.traceparent})

    def _full(self, name: str) -> str:
        return name if self.tenant is None else f"{self.tenant}:{name}"

    def own_text(self, text: str) -> str:
        """Return a text in which the run has the name that its tenant knows."""
        return text.replace(repr(self.full_id), repr(self.request_id))

    @property
    def all_tags(self) -> dict[str, str]:
        """The client's tags, and the agent's name."""
        return {**self.tags, AGENT_TAG: self.name}


_ASKED = ("prompt", "messages", "system", "tools", "max_tokens", "temperature", "body")
# Of a chat completion's request: what is the gateway's to say, or is said in `_ASKED`.
_NOT_PASSED = frozenset({"model", "stream", "stream_options", "n", "store", "max_completion_tokens", *_ASKED})


def request_of(given: Mapping[str, Any], endpoint: Endpoint) -> Request:
    """Return a client's input as what a provider is asked. Raises InvalidArgument."""
    asked = {key: given[key] for key in _ASKED if given.get(key) is not None}
    if given.get("max_completion_tokens") is not None:
        asked["max_tokens"] = given["max_completion_tokens"]
    further = {key: value for key, value in given.items() if key not in _NOT_PASSED and value is not None}
    if endpoint.api == "openai-chat":
        asked["body"] = {**further, **asked.get("body", {})}
    elif further:
        raise InvalidArgument(
            f"input: {', '.join(sorted(further))} cannot be put into the form of {endpoint.api}; known are "
            f"{', '.join(_ASKED)}, and `body` is sent as it is"
        )
    try:
        return Request.model_validate({"id": "run", **asked})
    except ValidationError as error:
        raise InvalidArgument(f"input: {explain(error, Request)}") from None


def function_of(path: str) -> Callable[..., Any]:
    """Return the function `module:function`. Raises ConfigError."""
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # noqa: BLE001  # whatever a module of our user's does when it is imported
        raise ConfigError(
            f"agent {path!r} cannot be imported where agents run: {type(error).__name__}: {error}; it has to be "
            "installed there, or lie in the folder in which the gateway was started"
        ) from None
    if not callable(found):
        raise ConfigError(f"agent {path!r} is {type(found).__name__}, and is to be a function")
    function: Callable[..., Any] = found
    return function
