"""Where a merge stands, as one text that can be stored. Pure.

Theory. A merge of requests that were named stands where each of them was read to. One of requests that were asked
for (by agent, tag, or all) stands also in the list of them: whatever is before that place is being read, and has its
own place here, or has ended. So the cursor of a merge that goes on for ever is as long as what is open, and no longer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from actors.errors import InvalidArgument
from router.client.finding.listing import ListCursor

SEQ_ID_MAX = (1 << 63) - 1
_VERSION = 1
_PARTS = {"version", "asked", "read", "ended", "listed"}


class Asked(NamedTuple):
    """Which requests are merged, where they are not named."""

    agent: str | None
    tags: tuple[tuple[str, str | None], ...]
    since: int
    """Created with this number or a later one; see `actors.protocol.finding`."""


@dataclass(slots=True)
class MergeCursor:
    """Where a merge stands.

    `read`: the requests that are read, with the last message of each that was handed out. `ended`: of named ones, those
    that are over; of those asked for, the ones that are over while `listed` stands still. `listed`: the place in the
    listing before which all are known.
    """

    asked: Asked | None = None
    read: dict[str, int] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    listed: ListCursor | None = None
    stands_still: bool = field(default=True, compare=False)
    """Whether what is found may be found again."""

    def name(self, request_ids: Iterable[str]) -> None:
        """Read these requests, each from where it was read to. Raises InvalidArgument where none were named before."""
        if self.asked is not None:
            raise InvalidArgument(f"{_OTHER}: that one followed an agent, a tag or all, and named no requests")
        wanted = dict.fromkeys(request_ids)
        self.ended &= wanted.keys()
        self.read = {name: self.read.get(name, 0) for name in wanted if name not in self.ended}

    def ask(self, asked: Asked) -> None:
        """Read those that fit, from where this stands. Raises InvalidArgument where others were asked for before."""
        if self.asked is None and (self.read or self.ended):
            raise InvalidArgument(f"{_OTHER}: that one named its requests")
        if self.asked not in (None, asked):
            raise InvalidArgument(f"{_OTHER}: that one asked for {self.asked}, this one for {asked}")
        self.asked = asked

    def end(self, request_id: str) -> None:
        """All of a request was handed out."""
        self.read.pop(request_id, None)
        if self.asked is None or self.stands_still:
            self.ended.add(request_id)

    def find(self, request_ids: Iterable[str], listed: ListCursor, *, is_sure: bool) -> list[str]:
        """Take in what was found; return what is new. `is_sure`: nothing that was found before is found again."""
        new = [name for name in request_ids if name not in self.read and name not in self.ended]
        self.read.update(dict.fromkeys(new, 0))
        self.listed = listed
        self.stands_still = not is_sure
        if is_sure:
            self.ended.clear()
        return new

    def text(self) -> str:
        """Return the cursor as text."""
        return json.dumps(
            {
                "version": _VERSION,
                "asked": self.asked,
                "read": self.read,
                "ended": sorted(self.ended),
                "listed": None if self.listed is None else self.listed.text(),
            },
            separators=(",", ":"),
        )

    @classmethod
    def of_text(cls, text: Any) -> Self:
        """Return the cursor that was written as this. Raises ValueError, TypeError."""
        parts = json.loads(text)
        if not isinstance(parts, dict) or parts.keys() != _PARTS or parts["version"] != _VERSION:
            raise ValueError(f"no cursor of a merge: {text!r:.60}")
        read, ended, listed = parts["read"], parts["ended"], parts["listed"]
        if not all(type(seq_id) is int and 0 <= seq_id <= SEQ_ID_MAX for seq_id in read.values()):
            raise ValueError("the places in a cursor of a merge are numbers of messages")
        if not all(isinstance(name, str) and name for name in (*read, *ended)):
            raise ValueError("what a cursor of a merge names are requests")
        place = None if listed is None else ListCursor.of_text(listed)
        return cls(_asked(parts["asked"]), dict(read), set(ended), place)


_OTHER = "StreamRouter.merge: after is the cursor of a merge of the same requests"


def _asked(parts: Any) -> Asked | None:
    if parts is None:
        return None
    agent, tags, since = parts
    pairs = tuple((name, value) for name, value in tags)
    is_text = all(isinstance(name, str) and isinstance(value, (str, type(None))) for name, value in pairs)
    if not is_text or not isinstance(agent, (str, type(None))) or type(since) is not int:
        raise ValueError("what a cursor of a merge asks for cannot be read")
    return Asked(agent, pairs, since)
