"""The request file: JSONL, each line one request. Pure.

    {"prompt": "Hello"}
    {"id": "r-2", "messages": [{"role": "user", "content": "Hello"}], "model": "m", "max_tokens": 100}

All lines are checked before anything starts, and all bad ones are named with their numbers. A request
without an `id` is named for its place: `line-1`, `line-2`, ...
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from actors.errors import ConfigError
from actors.settings import PartOfSettings, explain

SHOWN_MAX = 20
# A router takes 256 bytes, and the run's own mark is put behind it.
ID_BYTES_MAX = 200


class Request(BaseModel):
    """One request, in words common to all APIs; `body` is added to what is sent as it is."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    id: str | None = Field(None, min_length=1)
    prompt: str | None = None
    messages: tuple[dict[str, Any], ...] | None = Field(None, min_length=1, description="As in OpenAI's chat API.")
    system: str | None = None
    model: str | None = Field(None, min_length=1)
    tools: tuple[dict[str, Any], ...] = Field((), description="As in OpenAI's chat API.")
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0)
    body: dict[str, Any] = Field(default_factory=dict, description="Keys to send as they are; null takes a key out.")
    settings: PartOfSettings = Field(default_factory=dict, description="StreamSettings of this request.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.prompt is None and self.messages is None and not self.body:
            raise ValueError("expected prompt, messages or body: there is nothing to ask")
        if self.prompt is not None and self.messages is not None:
            raise ValueError("prompt and messages are both given; put the prompt into the messages")
        return self

    @model_validator(mode="after")
    def _turns_and_tools_have_their_form(self) -> Self:
        for number, message in enumerate(self.messages or ()):
            if not isinstance(message.get("role"), str):
                raise ValueError(f"messages.{number}: expected a role, got {str(message)[:60]!r}")  # noqa: TRY004
        for number, tool in enumerate(self.tools):
            function = tool.get("function")
            if not isinstance(function, dict) or not isinstance(function.get("name"), str):
                raise ValueError(  # noqa: TRY004
                    f'tools.{number}: expected {{"type": "function", "function": {{"name": ...}}}}'
                )
        return self

    @model_validator(mode="after")
    def _id_can_name_a_request(self) -> Self:
        if self.id is None:
            return self
        if len(self.id.encode("utf-8", "replace")) > ID_BYTES_MAX or not self.id.isprintable():
            raise ValueError(f"id: expected printable text of at most {ID_BYTES_MAX} bytes")
        return self

    @property
    def name(self) -> str:
        """The request's ID; every parsed request has one."""
        return self.id or ""

    @property
    def turns(self) -> list[dict[str, Any]]:
        """The conversation as OpenAI chat messages, the system's words not among them unless they stand there."""
        if self.messages is not None:
            return [dict(message) for message in self.messages]
        return [{"role": "user", "content": self.prompt}] if self.prompt is not None else []


def parse_requests(text: str, source: str) -> list[Request]:
    """Return the requests of a JSONL text. Raises ConfigError with the number of every bad line."""
    requests: list[Request] = []
    problems: list[str] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        problem, request = _parse_line(line, number)
        if request is not None and request.name in seen:
            problem = f"id {request.name!r} was given to line {seen[request.name]} already"
        if problem is not None or request is None:
            problems.append(f"line {number}: {problem}")
            continue
        seen[request.name] = number
        requests.append(request)
    if problems:
        more = f"; and {len(problems) - SHOWN_MAX} more" if len(problems) > SHOWN_MAX else ""
        raise ConfigError(
            f"{source}: {len(problems)} bad line{'s' * (len(problems) > 1)}: {'; '.join(problems[:SHOWN_MAX])}{more}"
        )
    if not requests:
        raise ConfigError(f'{source}: no request in it; one line is one request, as in {{"prompt": "Hello"}}')
    return requests


def _parse_line(line: str, number: int) -> tuple[str | None, Request | None]:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}", None
    if not isinstance(data, dict):
        return f"expected an object, got {type(data).__name__}", None
    try:
        request = Request.model_validate(data)
    except ValidationError as error:
        return explain(error, Request), None
    return None, request if request.id is not None else request.model_copy(update={"id": f"line-{number}"})
