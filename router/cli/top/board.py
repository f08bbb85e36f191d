"""What keys do in `top`: a request is selected, sorted, filtered, viewed, cancelled. Pure.

    list --/--> filter --enter, escape--> list         list --c--> confirm --y--> (cancels) list
         --enter--> view --escape--> list              view --c--> confirm --y--> (cancels) view

What needs the service is returned as an `Order`, for whoever drives this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import ClassVar, Literal, NamedTuple, get_args

from router.cli.streams_shown import Sort, StreamsShown

SORTS: tuple[Sort, ...] = get_args(Sort)
PAGE_ROWS = 10


class Mode(Enum):
    """What keys mean just now."""

    LIST = "list"
    FILTER = "filter"
    CONFIRM = "confirm"
    VIEW = "view"


class Order(NamedTuple):
    """Something to be done: end it all, follow a request, follow none, look again, cancel a request."""

    what: Literal["quit", "view", "leave", "look", "cancel"]
    request_id: str = ""


class Board:
    """The state of the view: `mode`, which request is `selected`, and what is shown of the service."""

    def __init__(self, count: int, only: str = "", sort: Sort = "lag") -> None:
        self.mode: Mode = Mode.LIST
        self.selected: str | None = None
        self.only: str = only
        self.sort: Sort = sort
        self.viewed: str | None = None
        self.notice: str = ""
        """What became of the last cancel."""
        self._count = count
        self._ids: Sequence[str] = ()
        self._only_before = ""
        self._asked = ""

    @property
    def streams(self) -> StreamsShown:
        """Which requests are shown."""
        return StreamsShown(self._count, self.only, self.sort)

    def shows(self, request_ids: Sequence[str]) -> None:
        """Take what is listed now. Where the selected request is gone, the one in its place is selected."""
        at = self._at()
        self._ids = [*request_ids]
        if self.selected not in self._ids:
            self.selected = self._ids[min(at, len(self._ids) - 1)] if self._ids else None

    def press(self, key: str) -> Order | None:
        """Take a key; return what is to be done about it."""
        return self._WHEN[self.mode](self, key)

    @property
    def help(self) -> str:
        """What can be done now, in one line."""
        match self.mode:
            case Mode.FILTER:
                return f"filter: {self.only}\N{FULL BLOCK}   enter keeps it, escape drops it"
            case Mode.CONFIRM:
                return f"cancel {self._asked}? y cancels it, any other key does not"
            case Mode.VIEW:
                keys = "escape back  c cancel  q quit"
            case Mode.LIST:
                filtered = f" ({self.only})" if self.only else ""
                keys = f"up/down select  enter view  c cancel  s sort ({self.sort})  / filter{filtered}  q quit"
        return f"{self.notice}   {keys}" if self.notice else keys

    # --- keys -------------------------------------------------------------------------------

    def _at(self) -> int:
        return self._ids.index(self.selected) if self.selected in self._ids else 0

    def _press_in_list(self, key: str) -> Order | None:
        self.notice = ""
        steps = _STEPS.get(key)
        if steps is not None:
            if self._ids:
                self.selected = self._ids[max(0, min(self._at() + steps, len(self._ids) - 1))]
            return None
        match key:
            case "enter" | "right" if self.selected is not None:
                self.mode, self.viewed = Mode.VIEW, self.selected
                return Order("view", self.selected)
            case "s":
                self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
                return Order("look")
            case "/":
                self.mode, self._only_before = Mode.FILTER, self.only
                return None
            case "escape" if self.only:
                self.only = ""
                return Order("look")
        return self._press_anywhere(key)

    def _press_in_view(self, key: str) -> Order | None:
        self.notice = ""
        if key in ("escape", "left", "backspace"):
            self.mode, self.viewed = Mode.LIST, None
            return Order("leave")
        return self._press_anywhere(key)

    def _press_anywhere(self, key: str) -> Order | None:
        if key == "q":
            return Order("quit")
        target = self.viewed or self.selected
        if key == "c" and target is not None:  # what is selected may be another one when the answer comes
            self.mode, self._asked = Mode.CONFIRM, target
        return None

    def _press_in_filter(self, key: str) -> Order | None:
        if key in ("enter", "escape"):
            self.mode = Mode.LIST
            if key == "escape":
                self.only = self._only_before
        elif key == "backspace":
            self.only = self.only[:-1]
        elif len(key) == 1:
            self.only += key
        return Order("look")

    def _press_in_confirm(self, key: str) -> Order | None:
        self.mode = Mode.LIST if self.viewed is None else Mode.VIEW
        if key in ("y", "Y"):
            return Order("cancel", self._asked)
        self.notice = "not cancelled"
        return None

    _WHEN: ClassVar[dict[Mode, Callable[[Board, str], Order | None]]] = {
        Mode.LIST: _press_in_list,
        Mode.FILTER: _press_in_filter,
        Mode.CONFIRM: _press_in_confirm,
        Mode.VIEW: _press_in_view,
    }


_FAR = 1 << 30
_STEPS = {
    "up": -1, "k": -1, "down": 1, "j": 1,
    "page up": -PAGE_ROWS, "page down": PAGE_ROWS, "home": -_FAR, "end": _FAR, "g": -_FAR, "G": _FAR,
}  # fmt: skip
