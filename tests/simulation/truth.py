"""The right answer of a request: what its items give, computed by the translator alone."""

from __future__ import annotations

from typing import Any

from actors.messages import MessagePiece, as_dict
from actors.records import check_record
from actors.settings import StreamSettings
from actors.translator import Translator

DATE = "2026-01-02T03:04:05+00:00"

Message = dict[str, Any]


def _dicts(pieces: list[MessagePiece], first: int) -> list[Message]:
    return [as_dict(head.fields, text, extra, first + i) for i, (head, text, extra) in enumerate(pieces)]


class Truth:
    """The messages of one request, whole or cut off after any of its items."""

    def __init__(self, request_id: str, settings: StreamSettings, items: list[tuple[str, Any]]) -> None:
        self._request_id = request_id
        self._settings = settings
        self.items = items
        self.messages: list[Message] = []
        self.after_item = [0]
        translator = self._translator()
        for item in items:
            self.messages += _dicts(self._take(translator, item), len(self.messages) + 1)
            self.after_item.append(len(self.messages))

    def _translator(self) -> Translator:
        return Translator(self._settings, run_id=self._request_id, message_date=DATE)

    @staticmethod
    def _take(translator: Translator, item: tuple[str, Any]) -> list[MessagePiece]:
        kind, body = item
        return translator.chunk(body) if kind == "chunk" else translator.record(kind, check_record(kind, body or {}))

    def last_items(self) -> list[int]:
        """Return after how many items the request may end of itself."""
        if not self._settings.multi_step:
            for count, (kind, _) in enumerate(self.items, 1):
                if kind == "step_end":
                    return [count]
        return [len(self.items)]

    def whole(self, count: int, stop_reason: str | None, error: tuple[str, str] | None = None) -> list[Message]:
        """Return all messages of the request, ended after `count` items."""
        translator = self._translator()
        pieces: list[MessagePiece] = []
        for item in self.items[:count]:
            pieces += self._take(translator, item)
        pieces += translator.end(stop_reason, error=error)
        return _dicts(pieces, 1)
