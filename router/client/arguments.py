"""What the arguments of every public call may be: one table, by call and parameter. Pure.

Each public method asks `check` before it does anything, so a wrong argument is refused in the caller's own
call and comes nowhere near what others use. A checked value is of the plain type itself: a subclass
could mean anything to another process.
"""

from __future__ import annotations

import itertools
import json
import math
import operator
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from actors.errors import InvalidArgument, InvalidRequestId
from actors.messages import iso_seconds
from actors.protocol.finding import LIST_LIMIT_MAX, STATES
from actors.protocol.labels import METADATA_BYTES_MAX, TAG_NAME_BYTES_MAX, TAG_VALUE_BYTES_MAX, TAGS_MAX
from actors.settings import StreamSettings
from router.client.finding.listing import ListCursor
from router.client.reading.merge_cursor import MergeCursor
from router.config import RouterConfig

SEQ_ID_MAX = (1 << 63) - 1
REQUEST_ID_BYTES_MAX = 65_536
TEXT_CHARACTERS_MAX = 16_384
NAME_CHARACTERS_MAX = 1_024
PING_S_MIN = 0.01
# For ever, as far as timers go.
SECONDS_MAX = 1e9
STREAMS_MAX = 1_000_000
_SHOWN_CHARACTERS_MAX = 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Refused(Exception):  # never leaves this module
    """The value is not allowed."""


class Parameter(NamedTuple):
    """One parameter: what is allowed, in words, and how a value becomes it."""

    allowed: str
    convert: Callable[[Any], Any]
    error: type[InvalidArgument] = InvalidArgument
    takes_none: bool = False
    """None is allowed, and stays what it is."""


def _refuse_unless(holds: bool) -> None:  # noqa: FBT001  # a condition
    if not holds:
        raise _Refused


def _text(least: int, most: int, *, is_printable: bool = False) -> Callable[[Any], str]:
    def convert(value: Any) -> str:
        _refuse_unless(isinstance(value, str))
        text = str.__str__(value)
        size = len(text) if text.isascii() else len(text.encode())  # half of a surrogate pair raises
        _refuse_unless(least <= size <= most and (text.isprintable() or not is_printable))
        return text

    return convert


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def convert(value: Any) -> int:
        _refuse_unless(not isinstance(value, bool))
        number = operator.index(value)
        _refuse_unless(least <= number <= most)
        return int(number)

    return convert


def _seconds(least: float) -> Callable[[Any], float]:
    def convert(value: Any) -> float:
        _refuse_unless(isinstance(value, (int, float)) and not isinstance(value, bool))
        number = float(value)
        _refuse_unless(not math.isnan(number) and number >= least)
        return min(number, SECONDS_MAX)

    return convert


def _flag(value: Any) -> bool:
    _refuse_unless(isinstance(value, bool))
    return bool(value)


def _one_of(*words: str) -> Callable[[Any], str]:
    def convert(value: Any) -> str:
        _refuse_unless(isinstance(value, str) and str.__str__(value) in words)
        return str.__str__(value)

    return convert


def _is_a(*kinds: type) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        _refuse_unless(isinstance(value, kinds))
        return value

    return convert


def _date(value: Any) -> str:
    if isinstance(value, str):
        value = datetime.fromisoformat(str.__str__(value))
    _refuse_unless(isinstance(value, datetime))
    # Readers in other time zones compare it, which the first and the last days of the calendar do not bear.
    _ = (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
    return iso_seconds(value)


def _or_none(parameter: Parameter) -> Parameter:
    return parameter._replace(allowed=f"{parameter.allowed}, or None", takes_none=True)


def _named(*words: str) -> Parameter:
    return Parameter("one of " + ", ".join(repr(str.__str__(word)) for word in words), _one_of(*words))


REQUEST_ID = Parameter(
    "text, printable, of at least one character", _text(1, REQUEST_ID_BYTES_MAX, is_printable=True), InvalidRequestId
)
NAME = Parameter(f"text of 1 to {NAME_CHARACTERS_MAX} bytes", _text(1, NAME_CHARACTERS_MAX))
TEXT = Parameter(f"text of up to {TEXT_CHARACTERS_MAX} bytes", _text(0, TEXT_CHARACTERS_MAX))
ANY_TEXT = Parameter("text", _is_a(str))
FLAG = Parameter("True or False", _flag)
AFTER = Parameter("a whole number from 0 to 2**63 - 1", _whole(0, SEQ_ID_MAX))
WAIT_S = Parameter("a number of seconds, 0 or more", _seconds(0.0))
_REQUEST_IDS_MAX = 1_000_000


def _one_or_many(value: Any) -> str | list[str]:
    if isinstance(value, str):
        text: str = REQUEST_ID.convert(value)
        return text
    _refuse_unless(not isinstance(value, (bytes, bytearray, Mapping)))
    found = list(itertools.islice(value, _REQUEST_IDS_MAX + 1))
    _refuse_unless(len(found) <= _REQUEST_IDS_MAX)
    return [REQUEST_ID.convert(one) for one in found]


REQUEST_IDS = Parameter(f"a request ID ({REQUEST_ID.allowed}), or several", _one_or_many, InvalidRequestId)


_TAG_NAME = _text(1, TAG_NAME_BYTES_MAX, is_printable=True)
_TAG_VALUE = _text(0, TAG_VALUE_BYTES_MAX, is_printable=True)


def _tag_name(value: Any) -> str:
    name = _TAG_NAME(value)
    _refuse_unless("=" not in name)
    return name


def _mapping(value: Any) -> dict[Any, Any]:
    _refuse_unless(isinstance(value, Mapping))
    return dict(value)


def _tags(value: Any) -> dict[str, str]:
    tags = {_tag_name(name): _TAG_VALUE(text) for name, text in _mapping(value).items()}
    _refuse_unless(len(tags) <= TAGS_MAX)
    return tags


def _metadata(value: Any) -> dict[str, Any]:
    text = json.dumps(_mapping(value), separators=(",", ":"), allow_nan=False)
    _refuse_unless(len(text) <= METADATA_BYTES_MAX)
    plain: dict[str, Any] = json.loads(text)
    return plain


def _wanted_tags(value: Any) -> list[tuple[str, str | None]]:
    """Return what is looked for: names, each with a value or None for any."""
    if isinstance(value, str):
        name, equals, text = str.__str__(value).partition("=")
        return [(_tag_name(name), _TAG_VALUE(text) if equals else None)]
    wanted = _mapping(value)
    _refuse_unless(0 < len(wanted) <= TAGS_MAX)
    return [(_tag_name(name), None if text is None else _TAG_VALUE(text)) for name, text in wanted.items()]


def _microseconds(value: Any) -> int:
    if isinstance(value, str):
        value = datetime.fromisoformat(str.__str__(value))
    _refuse_unless(isinstance(value, datetime))
    moment = (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
    number: int = (moment - _EPOCH) // timedelta(microseconds=1)
    return max(0, number)


TAGS = Parameter(
    f"a mapping of up to {TAGS_MAX} names (printable text of 1 to {TAG_NAME_BYTES_MAX} bytes without '=') to printable "
    f"text of up to {TAG_VALUE_BYTES_MAX} bytes",
    _tags,
)
METADATA = Parameter(f"a mapping that is JSON, of up to {METADATA_BYTES_MAX} bytes", _metadata)
WANTED_TAG = Parameter("the name of a tag, 'name=value', or a mapping of names to values", _wanted_tags)
MOMENT = Parameter("a datetime, ISO 8601 text", _microseconds)


def _callable(value: Any) -> Any:
    _refuse_unless(callable(value))
    return value


_INPUTS_MAX = 1_000_000
_PARALLEL_MAX = 100_000


def _inputs(value: Any) -> list[Any]:
    _refuse_unless(not isinstance(value, (str, bytes, bytearray, Mapping)))
    found = list(itertools.islice(value, _INPUTS_MAX + 1))
    _refuse_unless(len(found) <= _INPUTS_MAX)
    return found


def _options(value: Any) -> dict[str, Any]:
    _refuse_unless(isinstance(value, Mapping) and all(isinstance(key, str) for key in value))
    return dict(value)


def _flag_or_callable(value: Any) -> Any:
    return value if isinstance(value, bool) else _callable(value)


SETTINGS = _or_none(Parameter("StreamSettings, a mapping as {'dialect': 'chat'}", _is_a(StreamSettings, Mapping)))
WHEN_BUSY = _named("reject", "queue", "interrupt")

# What runs agents says of how.
_RUNNING = {
    "tags": _or_none(TAGS),
    "metadata": _or_none(METADATA),
    "agent": Parameter("a function that gives chunks or messages, or that gets a publisher", _callable),
    "settings": SETTINGS,
    "retries": _named("never", "lost", "failed"),
    "attempts": Parameter("a whole number from 1 to 1000", _whole(1, 1_000)),
    "actors": Parameter("a whole number from 0 to 10000", _whole(0, 10_000)),
    "raise_failed": FLAG,
    "ray_options": _or_none(Parameter("a mapping of names to Ray's options", _options)),
}

CALLS: dict[str, dict[str, Parameter]] = {
    "StreamRouter.start": {
        "config": _or_none(Parameter("a RouterConfig, a path", _is_a(RouterConfig, str, Path))),
        "token": _or_none(NAME),
    },
    "StreamRouter.connect": {"name": NAME, "namespace": NAME, "address": _or_none(NAME), "token": _or_none(NAME)},
    "StreamRouter.narrowed": {"subject": NAME},
    "StreamRouter.publish": {
        "request_id": REQUEST_ID,
        "settings": SETTINGS,
        "date": _or_none(Parameter("a datetime, ISO 8601 text", _date)),
        "agent_id": _or_none(NAME),
        "when_busy": WHEN_BUSY,
        "take_over": FLAG,
        "tags": _or_none(TAGS),
        "metadata": _or_none(METADATA),
    },
    "StreamRouter.subscribe": {
        "request_id": REQUEST_ID,
        "after": AFTER,
        "coalesce": FLAG,
        "format": _named("model", "dict", "struct", "packed", "openai"),
        "wait_s": WAIT_S,
        "ping_s": _or_none(Parameter(f"a number of seconds, {PING_S_MIN} or more", _seconds(PING_S_MIN))),
        "observer": FLAG,
    },
    "StreamRouter.gather_reads": {"gather_ms": Parameter("a number of milliseconds, 0 or more", _seconds(0.0))},
    "StreamRouter.show": {"request_ids": REQUEST_IDS, "wait_s": WAIT_S},
    "StreamRouter.result": {
        "request_ids": REQUEST_IDS,
        "raise_failed": FLAG,
        "wait_s": WAIT_S,
        "progress": _or_none(Parameter("True, False or something to call with two numbers", _flag_or_callable)),
    },
    "StreamRouter.messages": {
        "request_id": REQUEST_ID,
        "after": AFTER,
        "coalesce": _named("message", "tokens"),
        "wait_s": WAIT_S,
        "observer": FLAG,
    },
    "router.start": {
        **_RUNNING,
        "request_id": _or_none(REQUEST_ID),
        "agent_id": _or_none(NAME),
        "when_busy": WHEN_BUSY,
    },
    "StreamRouter.map": {
        **_RUNNING,
        "inputs": Parameter("a list or another iterable of inputs", _inputs),
        "concurrency": Parameter(f"a whole number from 1 to {_PARALLEL_MAX}", _whole(1, _PARALLEL_MAX)),
        "name": _or_none(REQUEST_ID),
        "progress": Parameter("True, False or something to call with two numbers", _flag_or_callable),
    },
    "AgentRun.messages": {"wait_s": WAIT_S},
    "AgentRun.cancel": {"detail": _or_none(TEXT)},
    "StreamRouter.list": {
        "agent": _or_none(NAME),
        "tag": _or_none(WANTED_TAG),
        "state": _or_none(_named(*STATES)),
        "since": _or_none(MOMENT),
        "after": _or_none(Parameter("the cursor of a listing", ListCursor.of_text)),
        "limit": Parameter(f"a whole number from 1 to {LIST_LIMIT_MAX}", _whole(1, LIST_LIMIT_MAX)),
        "newest_first": FLAG,
    },
    "StreamRouter.request": {"request_id": REQUEST_ID},
    "StreamRouter.merge": {
        "request_ids": _or_none(REQUEST_IDS),
        "agent": _or_none(NAME),
        "tag": _or_none(WANTED_TAG),
        "all": FLAG,
        "since": _or_none(MOMENT),
        "follow": FLAG,
        "after": _or_none(Parameter("the cursor of a merge", MergeCursor.of_text)),
        "coalesce": _named("message", "tokens"),
        "wait_s": WAIT_S,
        "observer": FLAG,
    },
    "StreamRouter.cancel": {"request_id": REQUEST_ID, "after_step": FLAG, "detail": _or_none(TEXT)},
    "StreamRouter.forget": {"request_id": REQUEST_ID},
    "StreamRouter.locate": {"request_id": REQUEST_ID, "wait_s": WAIT_S},
    "StreamRouter.overview": {"streams_max": Parameter(f"a whole number up to {STREAMS_MAX}", _whole(0, STREAMS_MAX))},
    "Publisher.finish": {"stop_reason": _or_none(NAME)},
    "Publisher.fail": {"error_type": NAME, "message": ANY_TEXT, "detail": _or_none(ANY_TEXT)},
}


def check(call: str, **given: Any) -> list[Any]:
    """Return the arguments of a call, each as the plain type it is to be, in the order given.

    Raises InvalidArgument, which names the call, the parameter, what came and what is allowed.
    """
    parameters = CALLS[call]
    plain: list[Any] = []
    name, value, parameter = "", None, FLAG
    try:
        for name, value in given.items():  # what it stopped at is told below
            parameter = parameters[name]
            plain.append(None if value is None and parameter.takes_none else parameter.convert(value))
    except Exception:  # noqa: BLE001  # whatever a hostile value does when it is looked at
        raise parameter.error(f"{call}: {name} is {parameter.allowed}; this is {_shown(value)}") from None
    return plain


def _shown(value: Any) -> str:
    kind = type(value).__name__
    try:
        text = repr(value[: 2 * _SHOWN_CHARACTERS_MAX] if isinstance(value, (str, bytes)) else value)
    except Exception:  # noqa: BLE001  # as above
        return kind
    text = text.encode("utf-8", "replace").decode()
    size = f" of length {len(value)}" if isinstance(value, (str, bytes)) and len(value) > _SHOWN_CHARACTERS_MAX else ""
    return f"{text[:_SHOWN_CHARACTERS_MAX]} ({kind}{size})"
