"""One request's interface: deltas and whole messages in, emissions out.

The theory. A request is a row of steps. A step is one response of the model (its choices each a
`Choice`, which see) and whatever whole messages the agent loop adds to it. Of a step, the interface
keeps the id, date and name that its messages bear, its usage, and the provider's finish word. Of the
request it keeps the sum of the usage, counters, and which calls of the assistant's tool were shown as
assistant messages, for their receipts ("Sent message successfully.") are not shown.

    start_step --feed*--> (held-back content) --end_step, add or Done--> all let out --start_step-->...

Message ids: all messages of a response bear the step's message id, and the n-th (from 0) the `otid` that
belongs to (id, n). A further choice has an id of its own, made from the step's, and so its own otids.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from actors.deltas import Delta, Done, Finish, Model, Refusal, StreamError, Text, ToolCallPiece, Unknown, Usage
from actors.interface.choice import Choice
from actors.interface.tool_calls import Out, ToolCall
from actors.messages import TEXT_FIELDS, TOOL_CALL, Emission, Fields, Head, otid_of
from actors.settings import StreamSettings

EPOCH_DATE = "1970-01-01T00:00:00+00:00"
# Names that ids are made from, so that the same request always makes the same ids.
ID_NAMESPACE = uuid.UUID("5d9e6c0a-3c1f-5b5e-9a53-6f2d1f0b7c11")

_COUNTED_MAX = 64
_RECEIPTS_MAX = 1024
_CHOICES_MAX = 128
_CHOICE_INDEX_MAX = 1_000_000
_TOKENS_MAX = 2**53
_OTHERS = "(others)"
_USAGE_FIELDS = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens")


def derived_message_id(*names: object) -> str:
    """Return a message id that depends on nothing but the names it is made from."""
    return f"message-{uuid.uuid5(ID_NAMESPACE, '/'.join(map(str, names)))}"


def is_token_count(value: object) -> bool:
    """Tell whether a value can be a number of tokens (and can be packed and added up)."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _TOKENS_MAX


class Interface:
    """Turns the deltas of a request into messages. `run_id` None: messages bear none."""

    def __init__(self, settings: StreamSettings, *, run_id: str | None) -> None:
        self.settings = settings
        self.run_id = run_id
        self.provider_reason: str | None = None
        self.model: str | None = None
        self.error = False
        self.has_refused = False
        self.step_count = 0
        self.message_count = 0
        self.unknown: dict[str, int] = {}
        self.warnings: dict[str, int] = {}
        # True: the provider said that the response is over; what comes next is another step.
        self.response_is_over = False
        self.usage_was_reported = False
        # True: deltas came in the step under way.
        self.has_streamed = False
        self._message_id = derived_message_id(run_id or "", 0)
        self._date = EPOCH_DATE
        self._name: str | None = None
        self._all_choices = settings.choices == "all"
        self._first: Choice = Choice(self, self._message_id, 0)
        self._others: dict[int, Choice] = {}
        self._step_usage: dict[str, int] = {}
        self._usage: dict[str, int] = {}
        self._assistant_calls: list[ToolCall] = []
        # Ids of calls that were shown as assistant messages, and whose receipts have not come yet.
        self._receipts: dict[str, None] = {}
        # Whole messages with an id of their own are counted from 0 too; one id at a time.
        self._whole_id: str | None = None
        self._whole_count = 0

    # --- steps ------------------------------------------------------------------------------------

    def start_step(self, message_id: str, date: str, name: str | None = None) -> list[Emission]:
        """Begin the next response: new id, index from 0. Returns what the one before held back."""
        out = self.end_step()
        self._message_id, self._date, self._name = message_id, date, name
        self._first = Choice(self, message_id, 0)
        self._others = {}
        self.step_count += 1
        self.response_is_over = self.has_refused = self.has_streamed = False
        # Each response has its own end: the last one's is the request's.
        self.provider_reason = None
        return out

    def end_step(self) -> list[Emission]:
        """Let out what is held back, and add up the step's usage. The next step begins with `start_step`."""
        out: Out = []
        self._end_response(out)
        for field, count in self._step_usage.items():
            self._usage[field] = self._usage.get(field, 0) + count
        self._step_usage = {}
        return out

    def _end_response(self, out: Out) -> None:
        self._first.end(out)
        for choice in self._others.values():
            choice.end(out)
        for call in self._assistant_calls:
            if call.id is not None:
                self._expect_receipt(call.id)
        self._assistant_calls = []

    # --- deltas -----------------------------------------------------------------------------------

    def feed(self, deltas: Sequence[Delta]) -> list[Emission]:  # noqa: C901, PLR0912  # a table, commonest first
        """Return the emissions of one chunk's deltas. Raises nothing."""
        self.has_streamed = True
        out: Out = []
        for delta in deltas:
            kind = delta.__class__
            if kind is Text or kind is ToolCallPiece:
                if delta.choice == 0:  # type: ignore[union-attr]  # both have it
                    self._first.feed(delta, out)
                else:
                    self._further_choice(delta, out)
            elif kind is Usage:
                self._take_usage(delta)  # type: ignore[arg-type]  # a Usage
            elif kind is Finish:
                if delta.choice == 0 or (self._all_choices and self.provider_reason is None):  # type: ignore[union-attr]
                    self.provider_reason = delta.reason  # type: ignore[union-attr]  # a Finish
            elif kind is Model:
                self.model = delta.name  # type: ignore[union-attr]  # a Model
            elif kind is Unknown:
                _count(self.unknown, delta.what)  # type: ignore[union-attr]  # an Unknown
            elif kind is StreamError:
                self.error_message(delta.kind, delta.text, out)  # type: ignore[union-attr]  # a StreamError
            elif kind is Done:
                self._end_response(out)
                self.response_is_over = True
            else:
                if kind is Refusal:
                    self.has_refused = True
                if delta.choice == 0:  # type: ignore[union-attr]  # all that are left have it
                    self._first.feed(delta, out)
                else:
                    self._further_choice(delta, out)
        return out

    def _further_choice(self, delta: Any, out: Out) -> None:
        index: int = delta.choice
        if not self._all_choices:
            self.warn("further_choice_left_out")
            return
        choice = self._others.get(index)
        if choice is None:
            if len(self._others) == _CHOICES_MAX or not 0 < index <= _CHOICE_INDEX_MAX:
                self.warn("too_many_choices")
                return
            choice = self._others[index] = Choice(self, derived_message_id(self._message_id, index), index)
        choice.feed(delta, out)

    def _take_usage(self, usage: Usage) -> None:
        self.usage_was_reported = True
        for field in _USAGE_FIELDS:
            count = getattr(usage, field)
            if is_token_count(count):
                self._step_usage[field] = count

    # --- whole messages -----------------------------------------------------------------------------

    def add(self, body: Mapping[str, Any]) -> list[Emission]:
        """Return the emissions of a whole message (`actors/records.py` says which fields it may have).

        What the response held back goes out ahead of it. The receipt of a call that was shown as an
        assistant message is left out; an error in place of the receipt is not.
        """
        out: Out = []
        self._end_response(out)
        kind = body["message_type"]
        if kind == "tool_return_message" and self._is_receipt(body):
            return out
        if kind == TOOL_CALL:
            self._add_tool_call(body, out)
            return out
        field = TEXT_FIELDS.get(kind)
        text = body.get(field) if field is not None else None
        fields = {key: value for key, value in body.items() if key not in _HEAD_FIELDS and key != field}
        if text is not None and not isinstance(text, str):
            fields[field], text = text, None  # type: ignore[index]  # not None, for the text came from it
        if kind == "assistant_message" and fields.pop("tool_call_id", None) is not None:
            self._expect_receipt(body["tool_call_id"])
        out.append(Emission(self._whole_head(kind, body, fields), text))
        return out

    def _add_tool_call(self, body: Mapping[str, Any], out: Out) -> None:
        call = body["tool_call"]
        fields: Fields = {"tool_call_id": call.get("tool_call_id")}
        if body.get("provider_executed"):
            fields["provider_executed"] = True
        head = self._whole_head(TOOL_CALL, body, fields)
        out.append(Emission(head, call.get("arguments"), {"tool_name": call["name"]}))

    def _whole_head(self, kind: str, body: Mapping[str, Any], fields: Fields) -> Head:
        message_id = body.get("id")
        if message_id is None or message_id == self._message_id:
            head = self._first.new_head(kind, fields)
        else:
            if message_id != self._whole_id:
                self._whole_id, self._whole_count = message_id, 0
            head = self.new_head(kind, message_id, self._whole_count, fields, 0)
            self._whole_count += 1
        own = {key: body[key] for key in ("date", "name", "otid", "sender_id") if key in body}
        return Head(kind, {**head.fields, **own}) if own else head

    def _expect_receipt(self, call_id: str) -> None:
        self._receipts[call_id] = None
        if len(self._receipts) > _RECEIPTS_MAX:
            self._receipts.pop(next(iter(self._receipts)))

    def _is_receipt(self, body: Mapping[str, Any]) -> bool:
        call_id = body.get("tool_call_id")
        if body.get("status") != "success" or call_id not in self._receipts:
            return False
        del self._receipts[call_id]
        return True

    # --- what choices ask for -------------------------------------------------------------------------

    def new_head(self, kind: str, message_id: str, index: int, fields: Fields, choice_index: int) -> Head:
        """Return the head of the `index`-th message of a response."""
        common: Fields = {
            "id": message_id,
            "date": self._date,
            "name": self._name,
            "otid": otid_of(message_id, index),
            "sender_id": None,
        }
        if self.run_id is not None:
            common["run_id"] = self.run_id
        if choice_index > 0:
            common["choice_index"] = choice_index
        self.message_count += 1
        return Head(kind, {**common, **fields})

    def control_head(self, kind: str, fields: Fields) -> Head:
        """Return the head of a message that is not part of a response (error, terminal): it has no otid."""
        head = self.new_head(kind, self._message_id, 0, fields, 0)
        return Head(kind, {**head.fields, "otid": None})

    def error_message(self, error_type: str, text: str, out: Out, detail: str | None = None) -> None:
        """Append an error message; the request's end will be an error."""
        self.error = True
        head = self.control_head("error_message", {"error_type": error_type, "message": text, "detail": detail})
        out.append(Emission(head))

    def note_assistant_call(self, call: ToolCall) -> None:
        """Take note of a call that is shown as an assistant message; its id may still be on its way."""
        self._assistant_calls.append(call)

    def warn(self, name: str) -> None:
        """Count a named warning."""
        _count(self.warnings, name)

    # --- what is known at the end -----------------------------------------------------------------------

    @property
    def has_called_tools(self) -> bool:
        """True: the last response called tools that the provider does not run itself."""
        return self._first.has_called_tools or any(choice.has_called_tools for choice in self._others.values())

    @property
    def usage(self) -> dict[str, int | None]:
        """Tokens of all steps together, the one under way included; None where no provider said."""
        total: dict[str, int | None] = {}
        for field in _USAGE_FIELDS:
            known = [counts[field] for counts in (self._usage, self._step_usage) if field in counts]
            total[field] = sum(known) if known else None
        return total


_HEAD_FIELDS = frozenset({"message_type", "id", "date", "name", "otid", "sender_id", "run_id", "seq_id"})


def _count(counters: dict[str, int], name: str) -> None:
    if name not in counters and len(counters) >= _COUNTED_MAX:
        name = _OTHERS
    counters[name] = counters.get(name, 0) + 1
