"""Whose event is an event: the items of one Responses stream, told apart by what the events offer.

The documents say that `output_index` tells items apart and `content_index` their parts. Servers leave the first out
(llama.cpp), use it again or shift it, let the second run on or give each delta its own (vLLM, Bedrock), and change an
item's id on the way (Copilot). So an event belongs to

1. the item whose id, or whose call's id, it bears;
2. else the item of its kind at its output index, unless that is over and this is new;
3. else, without an index that is known, the latest item of its kind that is not over;

and a whole that would be told twice there belongs to the item whose text it repeats (`repeated`). What is no such
item is a new one. Parts are not told apart by number at all: a part ends with its `.done`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actors.providers.adapter import Event, as_id, as_index
from actors.providers.told import Told, same_json

_ITEMS_MAX = 512
# From here on count the indexes of items that have none of their own.
_OWN_INDEX = 1_000_000
MESSAGE, REASONING, CALL = "message", "reasoning", "call"


class Item:
    """One item. A call's `told` has its arguments under the channel "arguments".

    `is_implicit`: events came, but no start. `is_shown`: a call whose name went out. `given`: arguments that stood in
    the call's start, or text that stood in the message's, until it shows whether they come again.
    """

    __slots__ = (
        "call_id",
        "done_parts",
        "given",
        "id",
        "index",
        "is_done",
        "is_implicit",
        "is_providers",
        "is_shown",
        "kind",
        "name",
        "signature",
        "starts",
        "told",
        "type",
    )

    def __init__(self, kind: str, item_id: str | None, call_id: str | None, index: int) -> None:
        self.kind: str = kind
        self.id: str | None = item_id
        self.call_id: str | None = call_id
        self.index: int = index
        self.name: str | None = None
        self.type: str = "function_call"
        self.given: str = ""
        self.signature: str | None = None
        self.is_done: bool = False
        self.is_implicit: bool = False
        self.is_providers: bool = False
        self.is_shown: bool = False
        self.told: dict[str, Told] = {}
        self.starts: dict[str, int] = {}  # where in the text of a channel its part under way begins
        self.done_parts: set[tuple[str, int]] = set()

    def of(self, channel: str) -> Told:
        """Return what was told in a channel."""
        told = self.told.get(channel)
        if told is None:
            told = self.told[channel] = Told()
        return told

    @property
    def has_told(self) -> bool:
        """True: some of it was told."""
        return any(told.pieces or told.is_cut for told in self.told.values())

    @property
    def text(self) -> str:
        """All that was told, to be compared with a whole."""
        texts = [told.text for told in self.told.values()]
        return texts[0] if len(texts) == 1 else "".join(texts)


class Items:
    """The items of one response, in order."""

    __slots__ = ("_by_id", "_by_index", "rows")

    def __init__(self) -> None:
        self.rows: list[Item] = []
        self._by_id: dict[str, dict[str, Item]] = {MESSAGE: {}, REASONING: {}, CALL: {}}
        self._by_index: dict[int, Item] = {}

    def clear(self) -> None:
        """Forget all: the next response begins."""
        self.rows.clear()
        for known in self._by_id.values():
            known.clear()
        self._by_index.clear()

    def by_id(self, kind: str, item_id: object) -> Item | None:
        """Return an item by an id that an event bears: the item's own, or that of its call."""
        return self._by_id[kind].get(item_id) if isinstance(item_id, str) else None

    def find(
        self, kind: str, event: Event, item: dict[str, Any] | None = None, *, is_whole: bool = False
    ) -> Item | None:
        """Return the item that an event belongs to; None: it is of one that has not begun."""
        ids = list(_ids_of(event, item))
        for item_id in ids:
            known = self.by_id(kind, item_id)
            if known is not None and (is_whole or not known.is_done):
                return known
        index = as_index(event.get("output_index"))
        there = None if index is None else self._by_index.get(index)
        if there is not None and there.kind == kind and (is_whole or not there.is_done):
            self._know(there, ids)
            return there
        latest = next((row for row in reversed(self.rows) if row.kind == kind), None)
        if (
            latest is None
            or latest.is_done
            or (ids and _has_proven_ids(latest))
            or (there is None and index is not None and latest.index < _OWN_INDEX)
        ):
            return None
        self._know(latest, ids)
        return latest

    def begin(self, kind: str, event: Event, item: dict[str, Any] | None, *, is_implicit: bool) -> Item:
        """Return a new item."""
        ids = list(_ids_of(event, item))
        source = event if item is None else item
        index = as_index(event.get("output_index"))
        is_first_there = index not in self._by_index or self._by_index[index].kind != kind
        row = Item(
            kind,
            as_id(event.get("item_id")) if item is None else as_id(item.get("id")),
            as_id(source.get("call_id")),
            index if index is not None and is_first_there else _OWN_INDEX + len(self.rows),
        )
        row.is_implicit = is_implicit
        self.rows.append(row)
        if len(self.rows) > _ITEMS_MAX:
            self._forget(self.rows.pop(0))
        if index is not None:
            self._by_index[index] = row
        for item_id in ids:
            self._by_id[kind].pop(item_id, None)  # an id that is used again is now that of another item
        self._know(row, ids)
        return row

    def repeated(
        self, kind: str, whole: str, but: Item | None, ids: tuple[str | None, str | None], *, only_implicit: bool
    ) -> Item | None:
        """Return the item of a kind whose text a whole repeats, or goes on with; None where there is none."""
        bare = whole.strip()
        for row in self.rows:
            if row is but or row.kind != kind or (only_implicit and not row.is_implicit) or _is_another(row, *ids):
                continue
            text = row.text.strip()
            if text and (bare == text or same_json(text, bare) or (not row.is_done and bare.startswith(text))):
                return row
        return None

    def of_whole(self, kind: str, ending: str, event: Event, item: dict[str, Any], whole: str) -> tuple[Item, bool]:
        """Return the item that a whole one ends (`done`) or repeats (`again`), and whether it is a new one."""
        ids = ids_of(event, item)
        row = self.by_id(kind, ids[0]) or self.by_id(kind, ids[1])
        is_by_id = row is not None
        if row is None:
            row = self.find(kind, event, item, is_whole=True)
        # Whoever has nothing to compare with may be told already, under another id or at another place.
        text = "" if row is None else row.text
        if whole and (row is None or not text or not (whole.startswith(text) or is_by_id)):
            repeated = self.repeated(kind, whole, row, ids, only_implicit=is_by_id)
            if repeated is not None and not (ending == "done" and _has_ended_elsewhere(repeated, event, ids[0])):
                self.know(repeated, event, item)
                return repeated, False
        is_other = ending == "again" and not is_by_id and whole.strip() != text.strip()
        if row is not None and not (is_other and row.is_done):
            return row, False
        return self.begin(kind, event, item, is_implicit=False), True

    def know(self, row: Item, event: Event, item: dict[str, Any]) -> None:
        """Take note of the ids by which an item is now known."""
        self._know(row, list(_ids_of(event, item)))

    def _know(self, row: Item, ids: list[str]) -> None:
        known = self._by_id[row.kind]
        for item_id in ids:
            known.setdefault(item_id, row)
            if len(known) > 2 * _ITEMS_MAX:
                del known[next(iter(known))]

    def _forget(self, row: Item) -> None:
        self._by_id[row.kind] = {key: known for key, known in self._by_id[row.kind].items() if known is not row}
        self._by_index = {key: known for key, known in self._by_index.items() if known is not row}


def ids_of(event: Event, item: dict[str, Any] | None = None) -> tuple[str | None, str | None]:
    """Return the id of the item that an event names, and that of its call."""
    if item is None:
        return as_id(event.get("item_id")), as_id(event.get("call_id"))
    return as_id(item.get("id")), as_id(item.get("call_id"))


def _ids_of(event: Event, item: dict[str, Any] | None) -> Iterator[str]:
    """Yield the ids that an event bears, the most telling first."""
    for value in (
        None if item is None else item.get("id"),
        event.get("item_id"),
        None if item is None else item.get("call_id"),
        event.get("call_id"),
    ):
        found = as_id(value)
        if found is not None:
            yield found


def _is_another(row: Item, item_id: str | None, call_id: str | None) -> bool:
    """Tell whether a call's ids say that it is not this one, whatever its arguments."""
    if row.kind != CALL:
        return False
    if call_id is not None and row.call_id is not None:
        return call_id != row.call_id
    return row.is_implicit and item_id is not None and row.id is not None and item_id != row.id


def _has_ended_elsewhere(row: Item, event: Event, item_id: str | None) -> bool:
    """Tell whether an item has had its own end, at another index or under another id: the next end is another's."""
    index = as_index(event.get("output_index"))
    return row.is_done and (
        (index is not None and index != row.index) or (item_id is not None and row.id is not None and item_id != row.id)
    )


def _has_proven_ids(row: Item) -> bool:
    """Tell whether an item that has told something bears an id: another id is then another item."""
    return (row.id is not None or row.call_id is not None) and row.has_told
