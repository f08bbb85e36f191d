"""What one request may set for itself.

`StreamSettings` is the only pydantic model that travels with a request; it is validated once,
where it enters. `dialect` picks the defaults; each flag may still be set by itself and bears the
name it has in Letta's `StreamingServerInterface`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from actors.errors import ProtocolViolation, SettingsError
from actors.protocol.frames import pack, unpack

Provider = Literal["auto", "openai-chat", "openai-responses", "anthropic-messages", "gemini"]

# The reference's constants: letta/constants.py and letta/local_llm/constants.py of Letta 0.7.8.
ASSISTANT_MESSAGE_TOOL_NAME = "send_message"
ASSISTANT_MESSAGE_TOOL_KWARG = "message"
INNER_THOUGHTS_KWARG = "inner_thoughts"

_DIALECTS: dict[str, dict[str, bool]] = {
    "letta": {"use_assistant_message": True, "inner_thoughts_in_kwargs": True, "content_is_reasoning": True},
    "chat": {"use_assistant_message": False, "inner_thoughts_in_kwargs": False, "content_is_reasoning": False},
}


class StreamSettings(BaseModel):
    """The settings of one request; frozen, comparable, and the same on every process.

    After validation no flag is None: what was left out has its dialect's value.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    dialect: Literal["letta", "chat"] = Field(
        "letta",
        description="letta: plain content is reasoning, the assistant speaks through a tool. "
        "chat: content is the assistant's, reasoning fields are reasoning, tool calls pass through.",
    )
    provider: Provider = Field("auto", description="Whose events the chunks are; auto tells by the first.")

    # The reference's flags.
    use_assistant_message: bool = Field(
        None,  # type: ignore[assignment]  # filled in from the dialect before validation
        description="Turn calls of the assistant's tool into assistant messages.",
    )
    assistant_message_tool_name: str = Field(ASSISTANT_MESSAGE_TOOL_NAME, min_length=1)
    assistant_message_tool_kwarg: str = Field(ASSISTANT_MESSAGE_TOOL_KWARG, min_length=1)
    inner_thoughts_in_kwargs: bool = Field(
        None,  # type: ignore[assignment]  # filled in from the dialect before validation
        description="Take inner thoughts out of tool arguments and stream them as reasoning.",
    )
    inner_thoughts_kwarg: str = Field(INNER_THOUGHTS_KWARG, min_length=1)
    expect_reasoning_content: bool = Field(
        False, description="The model reasons natively; plain content may be a tool call written as JSON."
    )
    multi_step: bool = Field(True, description="False: the end of the first step ends the stream.")

    # What the reference has no word for.
    content_is_reasoning: bool = Field(
        None,  # type: ignore[assignment]  # filled in from the dialect before validation
        description="Plain content becomes reasoning messages (letta) or assistant messages (chat).",
    )
    split_think_tags: bool = Field(
        False, description="What stands between <think> and </think> in content becomes native reasoning."
    )
    choices: Literal["first", "all"] = Field(
        "first", description="all: further choices come as messages of their own, with choice_index."
    )

    traceparent: str | None = Field(
        None,
        pattern=r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
        description="The span that the request belongs to (W3C trace context); None: the one in which it is published.",
    )

    # Bounds, in bytes of what is held for this request in its stream actor.
    chunk_bytes_max: int = Field(4 * 1024 * 1024, gt=0)
    message_bytes_max: int = Field(16 * 1024 * 1024, gt=0, description="A whole message of the agent loop, packed.")
    buffer_bytes_max: int = Field(1024 * 1024, gt=0, description="Unread messages; beyond it, when_full.")
    when_full: Literal["wait", "drop_oldest", "fail"] = "wait"
    retain_bytes_max: int = Field(16 * 1024 * 1024, gt=0, description="Read messages kept for late readers.")

    # Timers, each named in the terminal it causes. None: no such timer.
    first_message_timeout_s: float | None = Field(600.0, gt=0)
    stall_timeout_s: float | None = Field(300.0, gt=0, description="No content for so long; keepalives do not count.")
    idle_reader_timeout_s: float | None = Field(None, gt=0, description="Nobody has read for so long.")
    request_timeout_s: float | None = Field(3600.0, gt=0)
    publisher_grace_s: float = Field(30.0, ge=0, description="How long an open request waits for a new publisher.")
    sealed_ttl_s: float = Field(300.0, ge=0, description="How long an ended request stays readable.")

    @model_validator(mode="before")
    @classmethod
    def _fill_from_dialect(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        dialect = data.get("dialect", "letta")
        defaults = _DIALECTS.get(dialect, {}) if isinstance(dialect, str) else {}
        given = {key: value for key, value in data.items() if not (key in defaults and value is None)}
        return {**defaults, **given}

    @classmethod
    def load(cls, data: Mapping[str, Any] | Self | None) -> Self:
        """Validate a mapping (or pass settings through; None means the defaults).

        Raises SettingsError with the path of each wrong key and the nearest right one.
        """
        if isinstance(data, cls):
            return data
        try:
            return cls.model_validate(dict(data or {}))
        except ValidationError as error:
            raise SettingsError(explain(error, cls)) from None


def _can_be_loaded(given: dict[str, Any]) -> dict[str, Any]:
    try:
        StreamSettings.load(given)
    except SettingsError as error:
        raise ValueError(str(error)) from None
    return given


PartOfSettings = Annotated[dict[str, Any], AfterValidator(_can_be_loaded)]
"""Some of a request's settings, as somebody writes them down; checked, and kept as they are until others join them."""


@lru_cache(maxsize=1024)
def packed(settings: StreamSettings) -> bytes:
    """Return settings as bytes for `unpacked`; requests with the same settings share them."""
    return pack(settings.model_dump(mode="json"))


@lru_cache(maxsize=1024)
def unpacked(data: bytes) -> tuple[StreamSettings, bytes]:
    """Return the settings that `packed` packed, and the bytes again, so that requests can share both.

    Each distinct set is validated once. Raises ProtocolViolation.
    """
    try:
        return StreamSettings.model_validate(unpack(data)), data
    except ValidationError as error:
        raise ProtocolViolation(
            f"settings that no publisher of this version packs: {explain(error, StreamSettings)}"
        ) from None


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Put a pydantic error into one line a problem, each with its path and, for an unknown key, the nearest one."""
    lines = []
    for problem in error.errors(include_url=False):
        path = ".".join(str(part) for part in problem["loc"]) or "(top)"
        if problem["type"] == "extra_forbidden":
            known = known_keys(model, problem["loc"][:-1])
            near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known keys: {', '.join(sorted(known))}"
            lines.append(f"{path}: unknown key{hint}")
        elif problem["type"] == "value_error":
            # Our own validators say what came by themselves.
            lines.append(f"{path}: {problem['ctx']['error']}")
        else:
            shown = repr(problem.get("input"))
            lines.append(f"{path}: {problem['msg']} (got {shown[:80]})")
    return "; ".join(lines)


def known_keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Return the keys allowed at a path inside a model (none where the path leads to no model)."""
    current: Any = model
    for part in path:
        if isinstance(part, int):
            continue
        field = current.model_fields.get(part) if _is_model(current) else None
        if field is None:
            # A discriminated union puts its tag into the path; stay where we are.
            continue
        current = _first_model(field.annotation)
    return list(current.model_fields) if _is_model(current) else []


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _first_model(annotation: Any) -> Any:
    if _is_model(annotation):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        found = _first_model(part)
        if found is not None:
            return found
    return None
