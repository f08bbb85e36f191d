"""The span that a client is in, as it says it (W3C Trace Context), for the runs that it starts. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_VERSION, _VERSION = "ff", "00"


def traceparent_in(values: Sequence[str]) -> str | None:
    """Return what the headers `traceparent` say, as version 00; None where they say nothing that can be used.

    What is wrong in it is left alone, as the standard has it: a trace is for watching, and no request fails for it.
    """
    found = _PARENT.fullmatch(values[0].strip()) if len(values) == 1 else None
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == _NO_VERSION or (version == _VERSION and more) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return f"{_VERSION}-{trace_id}-{span_id}-{flags}"
