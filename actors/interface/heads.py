"""The heads of a request's messages: ids, dates and numbers.

Theory. A head has what all pieces of one message share. All messages of a response bear the message id,
date and name of its step. The n-th message (from 0) under a message id bears the `otid` made from (id, n).
A further choice has an id of its own, made from the step's, and so its own otids; a whole message may
bring an id too. Control messages (errors, the terminal) belong to no response: they have no otid and are
not numbered.

`Heads` belongs to the request; `NumberedHeads` counts the messages under one message id.
"""

from __future__ import annotations

import uuid
from hashlib import blake2b, sha1

from actors.empty import EMPTY_DICT, own_dict
from actors.interface.counters import count
from actors.messages import Fields, Head, MessagePiece, otid_of

EPOCH_DATE = "1970-01-01T00:00:00+00:00"
# The namespace of derived ids: the same request always gets the same ids.
ID_NAMESPACE = uuid.UUID("5d9e6c0a-3c1f-5b5e-9a53-6f2d1f0b7c11")


def derived_message_id(*names: object) -> str:
    """Return a message id made from names alone: their UUID of version 5, in a third of the time of `uuid.uuid5`."""
    digits = sha1(ID_NAMESPACE.bytes + "/".join(map(str, names)).encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"message-{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def derived_call_id(message_id: str, number: int) -> str:
    """Return an id for the `number`-th call of a response whose provider gives none: always the same."""
    return f"call_{blake2b(f'{message_id}/{number}'.encode(), digest_size=12).hexdigest()}"


class Heads:
    """Makes the heads of one request's messages, and counts its warnings. `run_id` None: messages bear none."""

    __slots__ = ("date", "error_count", "message_count", "message_id", "name", "run_id", "step_id", "warnings")

    def __init__(self, run_id: str | None, message_id: str | None = None) -> None:
        self.run_id: str | None = run_id
        self.message_id: str = message_id or derived_message_id(run_id or "", 0)
        self.date: str = EPOCH_DATE
        self.name: str | None = None
        self.step_id: str | None = None
        self.message_count: int = 0
        self.error_count: int = 0
        # What was out of the ordinary, by name.
        self.warnings: dict[str, int] = EMPTY_DICT

    def warn(self, name: str) -> None:
        """Count a named warning."""
        self.warnings = own_dict(self.warnings)
        count(self.warnings, name)

    def start_step(self, message_id: str, date: str, name: str | None, step_id: str | None = None) -> None:
        """Take the id, date (ISO text), agent name and step of the messages that follow."""
        self.message_id, self.date, self.name, self.step_id = message_id, date, name, step_id

    def new_head(self, kind: str, message_id: str, number: int | None, fields: Fields, choice_index: int = 0) -> Head:
        """Return the head of the `number`-th message under an id (None: it is not numbered, and of no step).

        Only choices after the first say their index.
        """
        common: Fields = {
            "message_type": kind,
            "id": message_id,
            "date": self.date,
            "name": self.name,
            "otid": None if number is None else otid_of(message_id, number),
            "sender_id": None,
        }
        if self.run_id is not None:
            common["run_id"] = self.run_id
        if choice_index > 0:
            common["choice_index"] = choice_index
        if self.step_id is not None and number is not None:
            common["step_id"] = self.step_id
        self.message_count += 1
        common.update(fields)
        return Head(kind, common)

    def control_head(self, kind: str, fields: Fields) -> Head:
        """Return the head of a message that belongs to no response: an error, the terminal."""
        return self.new_head(kind, self.message_id, None, fields)

    def error_message(self, error_type: str, text: str, detail: str | None = None) -> MessagePiece:
        """Return (and count) an error message. A request with one ends as an error."""
        self.error_count += 1
        return MessagePiece(
            self.control_head("error_message", {"error_type": error_type, "message": text, "detail": detail})
        )


class NumberedHeads:
    """Makes the heads of the messages under one message id, numbered from 0."""

    __slots__ = ("_choice_index", "_count", "message_id", "request")

    def __init__(self, request: Heads, message_id: str, choice_index: int = 0) -> None:
        self.request: Heads = request
        self.message_id: str = message_id
        self._choice_index = choice_index
        self._count = 0

    @property
    def has_messages(self) -> bool:
        """True: some message bears this id."""
        return self._count > 0

    def next(self, kind: str, fields: Fields) -> Head:
        """Return the head of the next message."""
        head = self.request.new_head(kind, self.message_id, self._count, fields, self._choice_index)
        self._count += 1
        return head
