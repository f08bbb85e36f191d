"""The calls of one Responses stream: shown once their name and id are known, their arguments told once.

A call waits, with what came of its arguments, until its name and its id are known. Arguments that stand in a call's
start wait too, since they may come again in pieces; what `.done`, the item's end and the response's end repeat is
compared with what was told.
"""

from __future__ import annotations

import json
from typing import Any

from actors.deltas import Delta, ToolCallEnd, ToolCallPiece, ToolReturn, Unknown
from actors.providers.adapter import Event, as_id, as_json_text, as_text, remember
from actors.providers.bare_json import is_json
from actors.providers.responses_items import CALL, Item, Items, ids_of
from actors.providers.responses_tools import ANSWERED_ELSEWHERE, arguments_of, is_clients, name_of, output_of
from actors.providers.told import DIFFERS, same_json


class ResponsesCalls:
    """Turns what events say of calls into deltas; the calls are items of the adapter's register."""

    __slots__ = ("_items", "_unanswered")

    def __init__(self, items: Items) -> None:
        self._items = items
        # Calls whose return comes as an item of its own: id to name, the latest last.
        self._unanswered: dict[str, str | None] = {}

    def clear(self) -> None:
        """Forget all: the next response begins."""
        self._unanswered.clear()

    def added(self, event: Event, item: dict[str, Any], out: list[Delta]) -> None:
        """Take a call at its start."""
        row = self._items.by_id(CALL, item.get("id")) or self._items.by_id(CALL, item.get("call_id"))
        if row is None or row.is_done:
            row = self._items.begin(CALL, event, item, is_implicit=False)
        self._name(row, item, out)
        arguments = item.get("input" if row.type == "custom_tool_call" else "arguments")
        if not row.is_providers and arguments and not row.has_told:
            row.given = as_json_text(arguments)

    def _name(self, row: Item, item: dict[str, Any], out: list[Delta]) -> None:
        """Take what an item says of its call, and show the call once its name is known."""
        if row.is_shown:
            return
        row.type = item["type"]
        row.is_providers = not is_clients(item)
        row.id = row.id or as_id(item.get("id"))
        row.call_id = as_id(item.get("call_id")) or row.call_id
        row.name = name_of(item) or row.name
        if row.name is not None and (row.call_id is not None or row.is_providers):
            self._show(row, out)

    def _show(self, row: Item, out: list[Delta]) -> None:
        """Let a call begin; what came of its arguments before goes with it."""
        row.is_shown = True
        row.call_id = row.call_id or row.id
        if row.type in ANSWERED_ELSEWHERE and row.call_id is not None:
            remember(self._unanswered, row.call_id, row.name)
        piece = ToolCallPiece(row.index, row.call_id, row.name, None, 0, row.is_providers)
        piece.needs_id = row.call_id is None
        told = row.of("arguments").text
        if row.name is None:
            piece.arguments = told or None
        out.append(piece)
        if row.name is not None and told:
            out.append(ToolCallPiece(row.index, row.call_id, None, told, 0, row.is_providers))

    def show_hidden(self, out: list[Delta]) -> None:
        """Let out the calls that still wait: for a name, or for arguments other than those of their start."""
        for row in self._items.rows:
            if row.kind != CALL or row.is_done:
                continue
            if row.is_shown:
                self._take_given(row, out)
            elif row.of("arguments").text:
                self._show(row, out)

    def _give(self, row: Item, arguments: str, out: list[Delta]) -> None:
        if arguments:
            row.of("arguments").add(arguments)
            if row.is_shown:
                out.append(ToolCallPiece(row.index, row.call_id, None, arguments, 0, row.is_providers))

    def _take_given(self, row: Item, out: list[Delta]) -> None:
        given, row.given = row.given, ""
        self._give(row, given, out)

    def piece(self, item_id: str, text: str) -> list[Delta] | None:
        """Take a piece of the arguments of a call that has been shown; None: `arguments` has to look for its call."""
        row = self._items.by_id(CALL, item_id)
        if row is None or not row.is_shown or row.given:
            return None
        row.of("arguments").add(text)
        return [ToolCallPiece(row.index, row.call_id, None, text, 0, row.is_providers)]

    def arguments(self, field: str, ending: str, event: Event, out: list[Delta]) -> None:
        """Take a piece of a call's arguments, or (`done`) all of them."""
        is_delta = ending != "done"
        piece = event.get("delta" if is_delta else field)
        if not piece:
            return
        text = as_json_text(piece)
        row = self._row_of_arguments(event, text, is_delta=is_delta)
        name = None if row.is_shown else as_text(event.get("name"))
        if name is not None:
            row.name = name
            row.call_id = row.call_id or as_id(event.get("call_id"))
            if row.call_id is not None:
                self._show(row, out)
        given, row.given = row.given, ""
        if not is_delta:
            self._rest(row, text, out)
            return
        if given and not is_json(given.encode("utf-8", "replace")) and row.type == "function_call":
            self._give(row, given, out)  # no whole: its first piece
        self._give(row, text, out)

    def _row_of_arguments(self, event: Event, text: str, *, is_delta: bool) -> Item:
        """Return the call that arguments belong to; a new one, whose start never came, where there is none."""
        items = self._items
        row = items.by_id(CALL, event.get("item_id"))
        if row is not None:
            return row
        row = items.find(CALL, event, is_whole=not is_delta)
        rest = None if row is None else row.of("arguments").rest_of(text)
        if not is_delta and rest != "":
            # At another place, it may be told already; and what an item has told differs is no item of it.
            row = items.repeated(CALL, text, row, ids_of(event), only_implicit=False) or (None if rest is None else row)
        return row or items.begin(CALL, event, None, is_implicit=True)

    def _rest(self, row: Item, whole: str, out: list[Delta]) -> None:
        """Give what whole arguments have beyond those that came."""
        told = row.of("arguments")
        rest = told.rest_of(whole)
        if rest:
            self._give(row, rest, out)
        elif rest is None and whole not in ("{}", "") and not same_json(told.text, whole):
            out.append(Unknown(DIFFERS))

    def code(self, event: Event, out: list[Delta]) -> None:
        """Stream code as the JSON it is an argument of: {"code": "…"}."""
        code = as_text(event.get("delta"))
        row = self._items.find(CALL, event)
        if code is None or row is None:
            return
        opening = "" if row.has_told else '{"code": "'
        self._give(row, opening + json.dumps(code, ensure_ascii=False)[1:-1], out)

    def done(self, ending: str, event: Event, item: dict[str, Any], out: list[Delta]) -> None:
        """Take a call at its end (done), or in the response's whole (again)."""
        if ending == "again":
            known = self._items.by_id(CALL, item.get("id"))
            if known is not None and known.is_done:
                return  # its own end has told it
        whole = arguments_of(item)
        row, _ = self._items.of_whole(CALL, ending, event, item, whole if is_clients(item) else "")
        if row.is_done:
            return
        row.is_done = True
        self._name(row, item, out)
        if not row.is_shown:
            self._show(row, out)
        if item["type"] == "code_interpreter_call" and row.of("arguments").pieces:
            self._give(row, '"}', out)
        else:
            if not whole:
                self._take_given(row, out)
            self._rest(row, whole, out)
        out.append(ToolCallEnd(row.index, row.call_id))
        if row.is_providers and row.call_id is not None and item["type"] not in ANSWERED_ELSEWHERE:
            error = item.get("error")
            failed = bool(error) or item.get("status") in ("failed", "incomplete")
            text = as_json_text(error) if error else output_of(item)
            out.append(ToolReturn(row.call_id, text, row.name, "error" if failed else "success"))

    def output(self, item: dict[str, Any], out: list[Delta]) -> None:
        """Take the return of a call, as an item of its own."""
        call_id = as_id(item.get("call_id"))
        if call_id is None and self._unanswered:
            call_id = next(reversed(self._unanswered))  # tool search tells no id; it is the call just made
        if call_id is None:
            out.append(Unknown("output item without a call"))
            return
        name = self._unanswered.pop(call_id, None)
        status = "error" if item.get("status") in ("failed", "incomplete") else "success"
        out.append(ToolReturn(call_id, output_of(item), name, status))
