"""An error, in whatever shape a server puts it, as one `StreamError`.

The servers agree on nothing, so an error is told by what it has, most telling first:

- a key that only errors have: `error` (an object, a text, JSON inside a text, a flag with a text beside it),
  `errors[]`, `error_message` and its spellings, `base_resp` with a status that is not 0 (MiniMax), `…Exception`
  (Bedrock);
- a mark that says so: `type`, `object` or `event` is "error", `status` is "failed", `success` is false;
- a text (`message`, `msg`, `detail`, `title`) beside a code that is no success, or a text and next to nothing else;
- one of these inside the only thing that an event has to say (`data`, `result`, `response`, `detail`).

The text is the one that helps: the upstream's own, where a gateway hands it on (`metadata.raw` of OpenRouter), and
what the model wrote that could not be used (`failed_generation` of Groq). The kind is the provider's own word
(`type`, `status` or `code`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from actors.deltas import StreamError

NO_KIND = "provider_error"
_TEXT_CHARS_MAX = 4000
_DEPTH_MAX = 5
# Keys that only an error has; their value is its text, or holds it.
_TELLING = (
    "err",
    "error_message",
    "error_msg",
    "errorMessage",
    "errmsg",
    "error_description",
    "fault",
    "faultstring",
    "exception",
)
_TEXTS = ("message", "Message", "msg", *_TELLING, "status_msg", "detail", "details", "description", "title", "reason")
_PLAIN_TEXTS = ("message", "Message", "msg", "detail")
_INNER = ("error", "errors", "raw", "data")
_KINDS = ("type", "status", "code", "error_type", "errorType", "error_code", "__type", "status_code", "statusCode")
_CODES = ("code", "status_code", "statusCode", "error_code", "errcode", "err_code", "ret", "retcode", "status")
_WRAPPERS = ("data", "result", "response", "detail", "body")
_FAILED = frozenset({"error", "failed", "failure"})
_NO_WORDS = frozenset({"error", "none", "null", "about:blank", ""})
_SUCCESSES = frozenset({"0", "200", "ok", "success", "successful", "succeeded", "true", ""})
# What may stand beside a text that is an error's and has no code.
_BESIDE = frozenset(
    {"request_id", "requestId", "requestid", "id", "trace_id", "traceId", "timestamp", "path", "status", "error"}
)
_BAD_STATUS = 400
# An event without any of these is an error at most by its type.
_SIGNS = frozenset(
    {
        *("error", "Error", "errors", "base_resp", "event", "success", "ok", "__type", "title"),
        *(*_TELLING, *_PLAIN_TEXTS, *_CODES, *_WRAPPERS),
    }
)


def find_error(event: Mapping[str, Any]) -> StreamError | None:
    """Return the error that an event is, or holds beside other things; None where it is none."""
    kind = event.get("type")
    if (
        _SIGNS.isdisjoint(event)
        and event.get("object") != "error"
        and not (isinstance(kind, str) and _sounds_bad(kind))
    ):
        return _exception(event)
    for key in ("error", "Error", "errors"):
        if event.get(key):
            return error_delta(_with_what_stands_beside(event, key))
    response = event.get("base_resp")
    if isinstance(response, Mapping) and _is_failure(response.get("status_code")):
        return error_delta({"message": response.get("status_msg"), "code": response.get("status_code")})
    if "error" in (event.get("type"), event.get("object"), event.get("event")) or _is_flat_error(event):
        return error_delta(event)
    return _inner_error(event)


def _inner_error(event: Mapping[str, Any]) -> StreamError | None:
    for key in _WRAPPERS:
        inner = event.get(key)
        if isinstance(inner, Mapping) and (inner.get("error") or inner.get("errors")):
            return find_error(inner)
    return _exception(event)


def _exception(event: Mapping[str, Any]) -> StreamError | None:
    for key, value in event.items():
        if isinstance(key, str) and key.endswith("Exception") and isinstance(value, Mapping):
            return error_delta({"type": key, **value})
    return None


def error_delta(error: object) -> StreamError:
    """Return the StreamError of a provider's error value: an object, a string, or whatever it sent.

    The kind is the provider's own word; a code that the text does not hold is added to it in brackets,
    since some providers put the only useful word there.
    """
    if isinstance(error, str):
        error = _json_in(error) or error
    if isinstance(error, list) and len(error) == 1:
        error = error[0]
    text = _text_of(error, _DEPTH_MAX) or _as_json(error)
    if not isinstance(error, Mapping):
        return StreamError(_shorten(text))
    inner = error.get("error")
    if isinstance(inner, Mapping) and _kind_of(error) is None:
        error = {**error, **inner}
    text = _with_upstream(error, text)
    kind = _kind_of(error) or NO_KIND
    code = _word(error.get("code"))
    if code is not None and code != kind and code not in text:
        text = f"{text} ({code})"
    return StreamError(_shorten(text), kind)


def _with_what_stands_beside(event: Mapping[str, Any], key: str) -> object:
    """Return an error's value; a text gets the code and the kind that stand beside it."""
    error = event[key]
    if isinstance(error, list):
        first = error[0] if isinstance(error[0], Mapping) else {}
        return {**first, "message": _text_of(error, _DEPTH_MAX) or _as_json(error)}
    if error is True or isinstance(error, int | float):
        # A flag or a number; the text stands beside it.
        return {name: value for name, value in event.items() if name != key} or error
    if not isinstance(error, str) or _json_in(error) is not None:
        return error
    beside = {name: event[name] for name in _KINDS if name in event}
    message = _text_of({name: event.get(name) for name in ("message", "detail", "error_description")}, 2)
    text = f"{error}: {message}" if message and message != error else error
    return {**beside, "message": text} if beside else text


def _is_flat_error(event: Mapping[str, Any]) -> bool:
    kind = event.get("type")
    if any(event.get(key) for key in _TELLING) or event.get("success") is False or event.get("ok") is False:
        return True
    status = event.get("status")
    if isinstance(status, str) and status.lower() in _FAILED and any(event.get(key) for key in _TEXTS):
        return True
    if isinstance(kind, str) and _sounds_bad(kind) and not kind.startswith("response."):
        return True
    texts = [key for key in _PLAIN_TEXTS if isinstance(event.get(key), str | list) and event[key]]
    if not texts:
        return bool(event.get("title")) and _is_failure(event.get("status"))
    is_coded = any(_is_failure(event.get(key)) for key in _CODES) or "__type" in event
    return is_coded or set(event) <= {*texts, *_BESIDE}


def _sounds_bad(kind: str) -> bool:
    low = kind.lower()
    return low.endswith(("error", "exception")) or low in ("overloaded", "rate_limit", "rate_limit_exceeded")


def _is_failure(code: object) -> bool:
    """Tell whether a code, or an HTTP status, says that something failed; a word that is no success does."""
    if code is None or isinstance(code, bool | Mapping | list):
        return False
    if isinstance(code, int | float):
        return code != 0 and not 200 <= code < _BAD_STATUS  # noqa: PLR2004 - HTTP's successes
    return str(code).lower() not in _SUCCESSES


def _text_of(error: object, depth: int) -> str | None:
    """Return the text of an error: the first that its keys, or what is inside, offer."""
    if depth == 0 or error is None or isinstance(error, bool):
        return None
    if isinstance(error, str):
        inner = _json_in(error)
        return (_text_of(inner, depth - 1) if inner is not None else None) or error.strip() or None
    if isinstance(error, list):
        texts = [_text_of(item, depth - 1) for item in error[:4]]
        return "; ".join(text for text in texts if text) or None
    if not isinstance(error, Mapping):
        return None
    where = error.get("loc")
    for key in (*_TEXTS, *_INNER):
        text = _text_of(error.get(key), depth - 1)
        if text is not None:
            return f"{text} (at {'.'.join(map(str, where))})" if isinstance(where, list) and where else text
    return None


def _with_upstream(error: Mapping[str, Any], text: str) -> str:
    """Add what the upstream itself said, who it is, and what the model wrote that could not be used."""
    metadata = error.get("metadata")
    if isinstance(metadata, Mapping):
        raw = _text_of(metadata.get("raw"), _DEPTH_MAX)
        if raw is not None and raw not in text:
            text = f"{text}: {raw}"
        name = metadata.get("provider_name")
        if isinstance(name, str) and name:
            text = f"{text} ({name})"
    failed = error.get("failed_generation")
    if failed:
        text = f"{text}; failed_generation: {failed if isinstance(failed, str) else _as_json(failed)}"
    return text


def _kind_of(error: Mapping[str, Any]) -> str | None:
    for key in _KINDS:
        word = _word(error.get(key))
        if word is not None and word.lower() not in _NO_WORDS and "://" not in word:
            return word
    return None


def _word(value: object) -> str | None:
    if isinstance(value, str):
        return None if value.lower() in _NO_WORDS - {"error"} else value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _json_in(text: str) -> Any:
    """Return the JSON object or array that a text is; None where it is none."""
    stripped = text.strip()
    if not stripped.startswith(("{", "[")):
        return None
    try:
        value = json.loads(stripped)
    except (ValueError, RecursionError):
        return None
    return value if value and isinstance(value, dict | list) else None


def _as_json(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (RecursionError, ValueError, TypeError):
        return ""


def _shorten(text: str) -> str:
    return text if len(text) <= _TEXT_CHARS_MAX else f"{text[:_TEXT_CHARS_MAX]}…"
