"""What a reader is handed at a time: a batch of messages, in the form it asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, Literal, TypeVar, overload

import msgpack

from actors.errors import ProtocolViolation
from actors.message_factory import MessageFactory
from actors.messages import TEXT_FIELDS, Fields, LettaMessage, PingMessage, as_dict, iso_seconds
from actors.openai_format import OpenAIFormat
from router.client.reading.inbox import Segment, joined, split
from router.client.reading.structs import MessageStruct, joined_structs, structs_of

Format = Literal["model", "dict", "struct", "packed", "openai"]

M = TypeVar("M")


@dataclass(slots=True)
class Batch(Sequence[M], Generic[M]):
    """Messages of one request, in `seq_id` order. Iterate over it, index it, take its length.

    `messages`: pydantic models, structs, plain dicts, or OpenAI chunks, as subscribed. `packed`: the same as
    bytes for `unpack_batch`, with format="packed" only. `last_seq_id`: the cursor to resume after.
    `gap`: (first, last) seq_ids that retention has dropped before this batch. `end`: nothing
    follows. `stop_reason`: set in the batch that holds the terminal. `is_lone`: nothing came with it for another
    subscription of this process; set where it is given to `listen`.
    """

    messages: list[M]
    last_seq_id: int
    gap: tuple[int, int] | None = None
    end: bool = False
    stop_reason: str | None = None
    packed: bytes = b""
    is_lone: bool = False

    def __iter__(self) -> Iterator[M]:
        return iter(self.messages)

    def __len__(self) -> int:
        return len(self.messages)

    @overload
    def __getitem__(self, index: int) -> M: ...
    @overload
    def __getitem__(self, index: slice) -> list[M]: ...
    def __getitem__(self, index: int | slice) -> M | list[M]:
        return self.messages[index]


class Shaper:
    """Makes batches of one subscription out of segments."""

    __slots__ = (
        "_coalesce",
        "_factory",
        "_fields",
        "_format",
        "_openai",
        "had_through",
    )

    def __init__(self, format: Format, *, coalesce: bool) -> None:  # noqa: A002  # the user's word
        self._format = format
        self._coalesce = coalesce
        self._fields: Fields | None = None
        self._factory: MessageFactory | None = None
        self._openai = OpenAIFormat() if format == "openai" else None
        self.had_through: int = 0

    def begin(self, after: int) -> int:
        """Return the cursor to read after for a user who has had all up to `after`.

        What an OpenAI chunk says depends on all before it (which call has which index, who has been named), so
        there it is read again and not shown again: `had_through` is where showing begins.
        """
        if self._openai is None:
            return after
        self.had_through = after
        return 0

    def gap(self, first: int, last: int) -> tuple[int, int] | None:
        """Note what retention has dropped; return what of it the user has not had, None where that is nothing."""
        if self._openai is not None:
            self._openai.has_gap = True
        first = max(first, self.had_through + 1)
        return (first, last) if first <= last else None

    def _catch_up(self, openai: OpenAIFormat, segments: Sequence[Segment]) -> Sequence[Segment]:
        """Let the format take what the user has had; return the rest."""
        rest: list[Segment] = []
        for first, fields, pieces in segments:
            had = min(max(self.had_through + 1 - first, 0), len(pieces))
            for seq_id, piece in enumerate(pieces[:had], first):
                openai.feed(as_dict(fields, *split(piece), seq_id))
            if had < len(pieces):
                rest.append((first + had, fields, pieces[had:]))
        return rest

    def shape(self, segments: Sequence[Segment], last_seq_id: int) -> Batch[Any]:
        """Return a batch of these segments."""
        if not self._coalesce:  # as most read
            if self._format == "model":
                return Batch(self._models(segments), last_seq_id)
            if self._format == "dict":
                return Batch(_dicts(segments), last_seq_id)
        if self._openai is not None and segments and segments[0][0] <= self.had_through:
            segments = self._catch_up(self._openai, segments)
        if self._format == "packed":
            return Batch([], last_seq_id, packed=msgpack.packb(list(segments)))
        return Batch(self._messages(segments), last_seq_id)

    def _messages(self, segments: Sequence[Segment]) -> list[Any]:
        if self._format == "struct":
            return joined_structs(joined(segments)) if self._coalesce else structs_of(segments)
        if self._coalesce:
            messages = joined(segments)
        else:
            messages = (
                (seq_id, fields, *split(piece))
                for first, fields, pieces in segments
                for seq_id, piece in enumerate(pieces, first)
            )
        if self._format == "model":
            return [self._model(*message) for message in messages]
        dicts = [as_dict(fields, text, extra, seq_id) for seq_id, fields, text, extra in messages]
        if self._openai is not None:
            return [chunk for message in dicts for chunk in self._openai.feed(message)]
        return dicts

    def ping(self, run_id: str, last_seq_id: int) -> Batch[Any]:
        """Return a batch of one keepalive; empty in the formats that have no such message."""
        now = datetime.now(UTC)
        if self._format == "model":
            return Batch([PingMessage(id="ping", date=now, run_id=run_id)], last_seq_id)
        fields: Fields = {"id": "ping", "date": iso_seconds(now), "name": None, "message_type": "ping", "otid": None}
        fields |= {"sender_id": None, "run_id": run_id}
        if self._format == "struct":
            return Batch([MessageStruct(None, fields)], last_seq_id)
        return Batch([fields] if self._format == "dict" else [], last_seq_id)

    def _models(self, segments: Sequence[Segment]) -> list[LettaMessage]:
        if len(segments) == 1:
            ((first, fields, pieces),) = segments
            factory = self._factory
            if factory is None or fields is not self._fields:
                factory = self._factory_of(fields)
            return factory.make_row(first, pieces)
        messages: list[LettaMessage] = []
        for first, fields, pieces in segments:
            messages += self._factory_of(fields).make_row(first, pieces)
        return messages

    def _model(self, seq_id: int, fields: Fields, text: str | None, extra: Fields | None) -> LettaMessage:
        return self._factory_of(fields).make(text, extra, seq_id)

    def rest(self) -> None:
        """Keep no more than it takes to go on: what makes models of a message is made again in 3 µs."""
        self._factory = self._fields = None

    def _factory_of(self, fields: Fields) -> MessageFactory:
        # Neighbouring pieces, also over batches, mostly belong to one message.
        if self._factory is None or fields is not self._fields:
            if self._factory is None or fields != self._fields:
                self._factory = MessageFactory(fields)
            self._fields = fields
        return self._factory


def _dicts(segments: Sequence[Segment]) -> list[Fields]:
    """Return the messages of segments as plain dicts. No model is made."""
    messages: list[Fields] = []
    append = messages.append
    for first, fields, pieces in segments:
        field = TEXT_FIELDS.get(fields["message_type"])
        for seq_id, piece in enumerate(pieces, first):
            if field is not None and piece.__class__ is str:
                append({**fields, "seq_id": seq_id, field: piece})
            else:
                append(as_dict(fields, *split(piece), seq_id))
    return messages


def unpack_batch(packed: bytes) -> list[Fields]:
    """Return the messages of `Batch.packed` as plain dicts. Raises ProtocolViolation."""
    try:
        segments = msgpack.unpackb(packed, strict_map_key=False)
        return [
            as_dict(fields, *split(piece), seq_id)
            for first, fields, pieces in segments
            for seq_id, piece in enumerate(pieces, first)
        ]
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ProtocolViolation(f"{len(packed)} bytes that are no packed batch: {error}") from error
