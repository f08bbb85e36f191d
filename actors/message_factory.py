"""Pydantic models of the messages of one head, as readers get them: validated once, then copied for each piece.

Pure, and the hot path of a reading process: what is made here is made for every message.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from actors.messages import MODELS, TEXT_FIELDS, TOOL_CALL, Fields, LettaMessage, ToolCallDelta, as_dict
from actors.protocol.segments import Piece

# The way pydantic itself fills a model (`model_construct`, `copy`), without the search for each name that
# `object.__setattr__` makes. Readers pay this cost for every message.
_set_values = BaseModel.__dict__["__dict__"].__set__
_set_fields_set = BaseModel.__dict__["__pydantic_fields_set__"].__set__
_set_extra = BaseModel.__dict__["__pydantic_extra__"].__set__
_set_private = BaseModel.__dict__["__pydantic_private__"].__set__
_new = object.__new__
# Shared: there are few different sets, and a message that is changed gets one of its own (`LettaMessage.__setattr__`).
_FIELDS_SETS: dict[frozenset[str], set[str]] = {}


class MessageFactory:
    """Makes the pydantic messages of one head: validates the head once, then copies per piece."""

    __slots__ = ("_field", "_fields", "_fields_set", "_is_call", "_model", "_values")

    def __init__(self, fields: Fields) -> None:
        kind = fields["message_type"]
        self._fields = fields
        self._is_call = kind == TOOL_CALL
        self._field = TEXT_FIELDS.get(kind)
        self._model = MODELS[kind]
        prototype = self._model.model_validate(as_dict(fields, None, None, None))
        self._values = dict(prototype.__dict__)
        fields_set = frozenset({*prototype.model_fields_set, "seq_id"})
        self._fields_set = _FIELDS_SETS.setdefault(fields_set, set(fields_set))

    def make_row(self, first: int, pieces: Sequence[Piece]) -> list[LettaMessage]:
        """Return the messages of neighbouring pieces, of which the first has the seq_id `first`."""
        messages: list[LettaMessage] = []
        field = self._field
        for seq_id, piece in enumerate(pieces, first):
            if piece.__class__ is str and field is not None:
                # As `make` does, without a call: nearly all that a reader gets.
                values = self._values.copy()
                values["seq_id"] = seq_id
                values[field] = piece
                message = _new(self._model)
                _set_values(message, values)
                _set_fields_set(message, self._fields_set)
                _set_extra(message, None)
                _set_private(message, None)
                messages.append(message)
            elif isinstance(piece, (tuple, list)):
                messages.append(self.make(piece[0], piece[1], seq_id))
            else:
                messages.append(self.make(piece, None, seq_id))
        return messages

    def make(self, text: str | None, extra: Fields | None, seq_id: int | None) -> LettaMessage:
        """Return the message of one piece."""
        values = self._values.copy()
        values["seq_id"] = seq_id
        message = _new(self._model)
        _set_values(message, values)
        _set_fields_set(message, self._fields_set)
        _set_extra(message, None)
        _set_private(message, None)
        if self._is_call:
            values["tool_call"] = ToolCallDelta.model_construct(
                name=extra.get("tool_name") if extra else None,
                arguments=text,
                tool_call_id=self._fields.get("tool_call_id"),
            )
            if extra and "signature" in extra:
                values["signature"] = extra["signature"]
            return message
        if self._field is not None and (text is not None or self._field not in self._fields):
            is_hidden = self._field == "hidden_reasoning"
            values[self._field] = text if text is not None or is_hidden else ""
        if extra:
            values.update(extra)
        return message
