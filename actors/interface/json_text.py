"""Whole JSON texts: read leniently, written as the reference writes them.

`json_reader` reads what is strict JSON, as it arrives. Here is what remains to be done with a text that
is not, once all of it is there, and with values on their way to a user.
"""

from __future__ import annotations

import json
from typing import Any

import demjson3

from actors.interface.surrogates import replace_surrogates

LENIENT_CHARS_MAX = 16 * 1024
UNREADABLE: Any = object()


def read_leniently(text: str) -> Any:
    """Return the value of JSON-like text (single quotes, bare keys, comments …), or UNREADABLE.

    Strict JSON is tried first, then demjson3 (as the reference does). demjson3 is slow, and holds up its
    whole process: text longer than LENIENT_CHARS_MAX is not given to it.
    """
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        pass
    if len(text) > LENIENT_CHARS_MAX:
        return UNREADABLE
    try:
        return demjson3.decode(text)
    except (demjson3.JSONException, ValueError, RecursionError, ArithmeticError, LookupError, TypeError):
        return UNREADABLE


def to_json(value: Any) -> str | None:
    """Return a value of `read_leniently` as JSON text in ASCII, as the reference writes it.

    None for a value that JSON cannot express: keys that are objects, nesting beyond the interpreter's depth.
    """
    try:
        return json.dumps(value, default=str)
    except (RecursionError, ValueError, TypeError):
        return None


def as_shown_text(value: object) -> str:
    """Return a value of the arguments as text for a user: a string as it is, null as nothing, else JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return replace_surrogates(value)
    return to_json(value) or ""
