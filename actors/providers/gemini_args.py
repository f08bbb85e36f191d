"""Arguments that Gemini streams as paths and values, written on as JSON text.

With `streamFunctionCallArguments` (Vertex AI), a call's arguments come as `partialArgs[]`, each a leaf:
`jsonPath` ("$.items[0].name", as in RFC 9535) and one of `stringValue`, `numberValue`, `boolValue`,
`nullValue`. With `willContinue` more of the same string follows.

The theory: leaves come in the order in which the model writes them, which is document order. So it is
enough to keep the path of the last leaf. Of the next leaf's path some part is the same; the containers
below that part are done and are closed, those of the rest of the new path are opened. What has been
written stays written; at any time the text so far is a prefix of the JSON, and `close` completes it.
A leaf that fits nowhere (a path back into what is closed, an object where an array was) is refused.
"""

from __future__ import annotations

import json
import re
from typing import Any

from actors.providers.adapter import as_json_text

Token = str | int

# One step of a path: .name, [3], ['name'] or ["name"].
_STEP = re.compile(r"""\.([^.\[\]]+)|\[([0-9]{1,9})\]|\['((?:[^'\\]|\\.)*)'\]|\["((?:[^"\\]|\\.)*)"\]""")
_GAP_MAX = 64
_DEPTH_MAX = 64
_NUMBER_FIELDS = ("numberValue", "boolValue")


class PartialArguments:
    """Writes the JSON of one call's arguments, leaf by leaf."""

    __slots__ = ("_done", "_in_string", "_is_whole", "_path")

    def __init__(self) -> None:
        self._path: list[Token] = []
        self._done: list[set[Token]] = []  # for each step of the path, its container's keys that are done
        self._in_string = False
        self._is_whole = False

    def whole(self, args: object) -> str:
        """Return arguments that came whole; empty where some of them have been written already."""
        if self._path or self._is_whole:
            return ""
        self._is_whole = True
        return as_json_text(args)

    def feed(self, leaf: dict[str, Any]) -> str | None:
        """Return the JSON text that a leaf adds; None where it fits nowhere."""
        path = _parse(leaf.get("jsonPath"))
        if path is None or self._is_whole:
            return None
        text = leaf.get("stringValue")
        goes_on = leaf.get("willContinue") is True
        if path == self._path and self._in_string and isinstance(text, str):
            self._in_string = goes_on
            return _escape(text) + ("" if goes_on else '"')
        way = self._way_to(path)
        if way is None:
            return None
        end = '"' if self._in_string else ""
        self._path = path
        self._in_string = isinstance(text, str) and goes_on
        if isinstance(text, str):
            return f'{end}{way}"{_escape(text)}' + ("" if goes_on else '"')
        for field in _NUMBER_FIELDS:
            if field in leaf:
                return end + way + as_json_text(leaf[field] if isinstance(leaf[field], bool | int | float) else None)
        return end + way + "null"

    def close(self) -> str:
        """Return what completes the JSON; `{}` where there were no arguments at all."""
        if self._is_whole:
            return ""
        if not self._path:
            return "{}"
        end = '"' if self._in_string else ""
        self._is_whole, self._in_string = True, False
        return end + "".join(map(_closer, reversed(self._path)))

    def _way_to(self, path: list[Token]) -> str | None:
        """Return the JSON between the last leaf and the next: containers closed, a key, containers opened."""
        old = self._path
        if not old:
            way = _opened(path) if isinstance(path[0], str) else None
            self._done = [set() for _ in path]
            return way
        same = 0
        while same < min(len(old), len(path)) and old[same] == path[same]:
            same += 1
        if same in (len(old), len(path)):
            return None  # the same leaf again, or a leaf where a container is, or the other way round
        step = _step_between(old[same], path[same])
        opened = _opened(path[same + 1 :])
        if step is None or opened is None or path[same] in self._done[same]:
            return None
        self._done[same].add(old[same])
        self._done[same + 1 :] = [set() for _ in path[same + 1 :]]
        return "".join(map(_closer, reversed(old[same + 1 :]))) + step + opened


def _step_between(left: Token, right: Token) -> str | None:
    """Return what stands between two members of one container; None where they cannot be in one."""
    if isinstance(left, str) and isinstance(right, str):
        return f", {_quote(right)}: "
    if isinstance(left, int) and isinstance(right, int) and 0 < right - left <= _GAP_MAX:
        return ", null" * (right - left - 1) + ", "
    return None


def _opened(path: list[Token]) -> str | None:
    """Return the opening brackets and keys that lead down a path; None where an array would start far off."""
    parts: list[str] = []
    for token in path:
        if isinstance(token, str):
            parts.append(f"{{{_quote(token)}: ")
        elif token <= _GAP_MAX:
            parts.append("[" + "null, " * token)
        else:
            return None
    return "".join(parts)


def _closer(token: Token) -> str:
    return "}" if isinstance(token, str) else "]"


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _escape(text: str) -> str:
    return _quote(text)[1:-1]


def _parse(path: object) -> list[Token] | None:
    """Return the steps of a path; None where it is none, is the root, or is deeper than can be."""
    if not isinstance(path, str) or not path.startswith("$"):
        return None
    tokens: list[Token] = []
    at = 1
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None or len(tokens) == _DEPTH_MAX:
            return None
        name, number, single, double = step.groups()
        if number is not None:
            tokens.append(int(number))
        elif name is not None:
            tokens.append(name)
        else:
            tokens.append(re.sub(r"\\(.)", r"\1", single if single is not None else double))
        at = step.end()
    return tokens or None
