"""Drives a `StreamHost` as its router and its readers do, without either."""

from __future__ import annotations

import json

from actors.protocol import frames
from actors.protocol.envelopes import Order
from actors.protocol.items import cut_record, pack_body
from actors.protocol.reads import Operation, Part
from actors.protocol.states import Report
from actors.settings import StreamSettings, packed
from actors.stream.host import StreamHost

DATE = "2026-01-02T03:04:05+00:00"


def text(content: str) -> bytes:
    return json.dumps({"choices": [{"index": 0, "delta": {"content": content}}]}).encode()


def record(kind: str, **body: object) -> list:
    (item,) = cut_record(kind, pack_body(kind, body))
    return item


class Driver:
    def __init__(self) -> None:
        self.host = StreamHost()
        self.host.begin("router")
        self.now = 0.0
        self._frame_no = 0
        self._operation_no = 0
        self._poll_no: dict[str, int] = {}
        self._next_seq: dict[str, int] = {}

    # --- as the router ---

    def send(self, *envelopes: tuple) -> dict[str, Report]:
        self._frame_no += 1
        answer = self.host.feed("router", self._frame_no, [frames.pack(envelopes)], self.now)
        return {parts[0]: Report(*parts) for parts in frames.unpack(answer)}

    def open(self, request_id: str, epoch: int = 1, *, replay_through: int = 0, **settings) -> dict[str, Report]:
        self._next_seq[request_id] = 1
        chosen = packed(StreamSettings.load({"dialect": "chat", **settings}))
        return self.send((Order.OPEN, request_id, epoch, chosen, "client", DATE, 0.0, 0, 1, replay_through, []))

    def say(self, request_id: str, *items: bytes | list, epoch: int = 1) -> dict[str, Report]:
        first = self._next_seq[request_id]
        self._next_seq[request_id] = first + len(items)
        return self.send((Order.DATA, request_id, epoch, first, frames.pack(list(items))))

    def end(self, request_id: str, epoch: int = 1, ttl_s: float = 300.0) -> bytes:
        """Let a request be finished; return its sealed log."""
        log = self.say(request_id, record("finish", stop_reason=None), epoch=epoch)[request_id].log
        assert log is not None
        self.send((Order.STORED, request_id, epoch, ttl_s))
        return log

    def passes(self, seconds: float) -> None:
        """Let time pass, and tick whenever that is asked for."""
        until = self.now + seconds
        while (due_at := self.host.due_at()) <= until:
            self.now = max(self.now, due_at)
            self.host.tick(self.now)
        self.now = until

    # --- as readers ---

    def operate(self, reader: str, *operation: object) -> None:
        self._operation_no += 1
        self.host.audience.operate(reader, 0, [[self._operation_no, *operation]], self.now)

    def subscribe(self, reader: str, number: int, request_id: str, after: int = 0, epoch: int = 1) -> None:
        self.operate(reader, Operation.SUBSCRIBE, number, request_id, after, epoch, False)

    def poll(self, reader: str) -> dict[int, Part] | None:
        """Return what a poll is answered, by subscription; None where it would wait."""
        poll_no = self._poll_no.get(reader, 0) + 1
        answer = self.host.audience.reader(reader, self.now).answer(poll_no)
        if answer is None:
            return None
        self._poll_no[reader] = poll_no
        found: dict[int, Part] = {}
        for part in (Part(*parts) for parts in frames.unpack(answer)):
            before = found.get(part.number)  # a subscription may have several turns in one answer
            found[part.number] = part if before is None else part._replace(segments=before.segments + part.segments)
        return found

    def wakes(self) -> set[str]:
        return set(self.host.audience.take_wakes())
