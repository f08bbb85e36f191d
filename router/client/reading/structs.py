"""Messages as structs: attributes without pydantic, for a program that reads much and looks at little of it.

A struct holds what came and makes nothing of it: the fields that the pieces of a message share, the text of this
piece, and what it has beside them. The model, or the plain dict, is made when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from actors.message_factory import MessageFactory
from actors.messages import Fields, as_dict
from router.client.reading.inbox import Segment, split

if TYPE_CHECKING:
    from actors.messages import LettaMessage


class MessageStruct(Struct, frozen=True, gc=False):
    """One message, or a piece of one, as `subscribe(..., format="struct")` gives it."""

    seq_id: int | None
    fields: Fields
    """All that the pieces of the message share, as in its JSON (`date` is text); not to be changed."""
    text: str | None = None
    """The content, the reasoning, the return of a tool, or the arguments of a tool call; None where there is none."""
    extra: Fields | None = None
    """What this piece has beside that: `tool_name`, `signature`."""

    @property
    def message_type(self) -> str:
        """The kind of message: `assistant_message`, `tool_call_message`, `stop_reason` and so on."""
        kind: str = self.fields["message_type"]
        return kind

    @property
    def id(self) -> str | None:
        """The ID of the response that it belongs to."""
        return self.fields.get("id")

    @property
    def otid(self) -> str | None:
        """What the pieces of one message have in common, and no other message has."""
        return self.fields.get("otid")

    @property
    def step_id(self) -> str | None:
        """The step that it belongs to, where its publisher names steps."""
        return self.fields.get("step_id")

    @property
    def tool_call_id(self) -> str | None:
        """The ID of a tool call, or of the call that a tool has returned from."""
        return self.fields.get("tool_call_id")

    @property
    def tool_name(self) -> str | None:
        """The name of the tool, with the first piece of its call."""
        return None if self.extra is None else self.extra.get("tool_name")

    def as_dict(self) -> dict[str, Any]:
        """Return it as `format="dict"` would."""
        return as_dict(self.fields, self.text, self.extra, self.seq_id)

    def model(self) -> LettaMessage:
        """Return it as `format="model"` would."""
        return MessageFactory(self.fields).make(self.text, self.extra, self.seq_id)


def structs_of(segments: Sequence[Segment]) -> list[MessageStruct]:
    """Return the messages of segments, one a piece."""
    messages: list[MessageStruct] = []
    append = messages.append
    for first, fields, pieces in segments:
        for seq_id, piece in enumerate(pieces, first):
            if piece.__class__ is str:
                append(MessageStruct(seq_id, fields, piece))
            else:
                append(MessageStruct(seq_id, fields, *split(piece)))
    return messages


def joined_structs(messages: Iterable[tuple[int, Fields, str | None, Fields | None]]) -> list[MessageStruct]:
    """Return messages that were joined as structs."""
    return [MessageStruct(*message) for message in messages]
