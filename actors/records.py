"""What a publisher may send besides chunks, and its check at the door.

A record is `(kind, body)`; the body is a plain dict, so that it can be packed. `check_record` is run
once, where a record enters; everything behind it trusts the body.

    step_start    message_id?, date?, name?,      the next response begins
                  step_id?
    message       message_type, ...               a whole message of the agent loop (`WholeMessage`)
    step_end      -                               the response under way is over

The ends of a request (`finish`, `fail`) are no records: see `Translator.end`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from actors.errors import InvalidRecord
from actors.messages import iso_seconds
from actors.settings import explain

_SHOWN_CHARS_MAX = 80


class _Body(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


class _Dated(_Body):
    date: datetime | None = Field(None, description="ISO text or a datetime; without a zone it is UTC.")
    name: str | None = None

    @field_validator("date")
    @classmethod
    def _date_can_be_written(cls, date: datetime | None) -> datetime | None:
        if date is not None:
            iso_seconds(date)
        return date


class StepStart(_Dated):
    """The next response of the model begins, with its message id (`message-<uuid>`, or any text)."""

    message_id: str | None = Field(None, min_length=1, max_length=256)
    step_id: str | None = Field(None, min_length=1, max_length=256)


class StepEnd(_Body):
    """The response under way is over."""


# --- whole messages -------------------------------------------------------------------------------


class _Whole(_Dated):
    """What all whole messages may have. Without an id they belong to the step under way."""

    id: str | None = Field(None, min_length=1, max_length=256)
    otid: str | None = None
    sender_id: str | None = None
    step_id: str | None = Field(None, min_length=1, max_length=256)

    @field_validator("otid")
    @classmethod
    def _otid_is_a_uuid(cls, otid: str | None) -> str | None:
        if otid is not None:
            uuid.UUID(otid)
        return otid


class WholeUser(_Whole):
    """What the user said; `content` is text or a list of content parts."""

    message_type: Literal["user_message"]
    content: str | list[dict[str, Any]]


class WholeSystem(_Whole):
    """A message of the system."""

    message_type: Literal["system_message"]
    content: str


class WholeAssistant(_Whole):
    """What the agent said to its user. `tool_call_id`: of the call that said it; its receipt is not shown."""

    message_type: Literal["assistant_message"]
    content: str | list[dict[str, Any]]
    tool_call_id: str | None = None


class WholeReasoning(_Whole):
    """The agent's reasoning, prompted (the default) or native."""

    message_type: Literal["reasoning_message"]
    reasoning: str
    source: Literal["reasoner_model", "non_reasoner_model"] = "non_reasoner_model"
    signature: str | None = None


class WholeHiddenReasoning(_Whole):
    """Reasoning that the provider redacted or left out."""

    message_type: Literal["hidden_reasoning_message"]
    state: Literal["redacted", "omitted"]
    hidden_reasoning: str | None = None


class WholeToolCallBody(_Body):
    """A tool call; `arguments` is JSON text."""

    name: str
    arguments: str
    tool_call_id: str | None = None


class WholeToolCall(_Whole):
    """A whole tool call."""

    message_type: Literal["tool_call_message"]
    tool_call: WholeToolCallBody
    provider_executed: bool | None = None


class WholeToolReturn(_Whole):
    """What a tool gave back."""

    message_type: Literal["tool_return_message"]
    tool_return: str
    status: Literal["success", "error"]
    tool_call_id: str
    stdout: list[str] | None = None
    stderr: list[str] | None = None
    provider_executed: bool | None = None


class WholeLegacyFunctionCall(_Whole):
    """A tool call in the legacy API's style: `f({'a': 1})`."""

    message_type: Literal["function_call"]
    function_call: str


WholeMessage = Annotated[
    WholeUser
    | WholeSystem
    | WholeAssistant
    | WholeReasoning
    | WholeHiddenReasoning
    | WholeToolCall
    | WholeToolReturn
    | WholeLegacyFunctionCall,
    Field(discriminator="message_type"),
]

_MODELS: dict[str, type[_Body]] = {"step_start": StepStart, "step_end": StepEnd}
_WHOLE: tuple[type[_Whole], ...] = WholeMessage.__origin__.__args__  # type: ignore[attr-defined]  # the union's members
_MESSAGE: TypeAdapter[WholeMessage] = TypeAdapter(WholeMessage)
_CAN_BE_LEFT_OUT = frozenset(
    {"id", "date", "name", "otid", "sender_id", "step_id", "tool_call_id", "message_id", "provider_executed"}
)


def check_record(kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body as JSON values, dates as ISO text in whole seconds.

    Raises InvalidRecord, with the path of each wrong key and the nearest right one.
    """
    model = _MODELS.get(kind)
    if model is None and kind != "message":
        known = ", ".join([*_MODELS, "message"])
        raise InvalidRecord(f"expected a record of one of the kinds {known}, got {str(kind)[:_SHOWN_CHARS_MAX]!r}")
    if not isinstance(body, Mapping):
        raise InvalidRecord(f"expected the body of a {kind} record as a mapping, got {type(body).__name__}")
    try:
        checked: BaseModel = _MESSAGE.validate_python(dict(body)) if model is None else model.model_validate(dict(body))
    except ValidationError as error:
        raise InvalidRecord(f"{kind} record: {_explained(error, model)}") from None
    except (OverflowError, RecursionError) as error:
        raise InvalidRecord(f"{kind} record: {error}") from None
    data = checked.model_dump(exclude_none=False)
    for key in _CAN_BE_LEFT_OUT:
        if data.get(key, "") is None:
            del data[key]
    date = getattr(checked, "date", None)
    if date is not None:
        data["date"] = iso_seconds(date)
    _check_texts(kind, data)
    return data


def _explained(error: ValidationError, model: type[_Body] | None) -> str:
    if model is not None:
        return explain(error, model)
    problems = error.errors(include_url=False)
    tag = str(problems[0]["loc"][0]) if problems[0]["loc"] else ""
    of_tag = {str(kind.model_fields["message_type"].annotation.__args__[0]): kind for kind in _WHOLE}  # type: ignore[union-attr]
    if tag in of_tag:
        return explain(error, of_tag[tag])
    return f"message_type: expected one of {', '.join(of_tag)} (got {problems[0].get('input')!r:.200})"


def _check_texts(kind: str, value: Any) -> None:
    """Refuse text that no UTF-8 can hold, deep inside as well; everything behind the door packs it."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InvalidRecord(f"{kind} record: a text holds half of a surrogate pair ({error.reason})") from None
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check_texts(kind, key)
            _check_texts(kind, inner)
    elif isinstance(value, list):
        for inner in value:
            _check_texts(kind, inner)
