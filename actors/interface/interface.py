"""One request's interface: deltas and whole messages in, pieces out.

Theory. A request is a row of steps. A step is one response of the model (a `Choice` for each of its
choices) and the whole messages that the agent loop adds to it. A response may hold text back; it lets it
out when the step ends, a whole message is added, or the provider says Done:

    start_step --feed*--> (text held back) --end_step, add or Done--> all let out --start_step--> ...

Of a step, the interface keeps the usage and the provider's finish word; `heads` has the id, date and name
of its messages. Of the request it keeps the sum of the usage, counters, and the ids of the calls that were
shown as assistant messages: the receipts of these calls ("Sent message successfully.") are not shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from actors.deltas import Delta, Done, Finish, Model, Refusal, StreamError, Text, ToolCallPiece, Unknown, Usage
from actors.empty import EMPTY_DICT, own_dict
from actors.interface.choice import Choice
from actors.interface.counters import count
from actors.interface.heads import Heads, NumberedHeads, derived_message_id
from actors.messages import TEXT_FIELDS, TOOL_CALL, Fields, Head, MessagePiece, Out, new_piece
from actors.settings import StreamSettings
from actors.stop_reasons import meaning_of

_RECEIPTS_MAX = 1024
_CHOICES_MAX = 128
_CHOICE_INDEX_MAX = 1_000_000
_TOKENS_MAX = 2**53
_WORD_CHARS_MAX = 80
_USAGE_FIELDS = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens")


def is_token_count(value: object) -> bool:
    """Tell whether a value can be a number of tokens (and can be packed and added up)."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _TOKENS_MAX


class Interface:
    """Turns the deltas of a request into messages. `run_id` None: messages bear none."""

    __slots__ = (
        "_first", "_first_heads", "_heads", "_others", "_receipts", "_step_usage", "_usage", "_whole",
        "had_content", "has_refused", "has_streamed", "model", "provider_detail", "provider_meaning",
        "provider_reason", "response_is_over", "settings", "step_count", "step_was_counted", "unknown",
        "usage_before", "usage_was_reported",
    )  # fmt: skip

    def __init__(self, settings: StreamSettings, *, run_id: str | None, message_id: str | None = None) -> None:
        self.settings: StreamSettings = settings  # of the steps that begin from now on
        self.provider_reason: str | None = None
        self.provider_meaning: str | None = None
        self.provider_detail: str | None = None
        self.model: str | None = None
        self.has_refused: bool = False
        self.step_count: int = 0
        # What no adapter knew, by name.
        self.unknown: dict[str, int] = EMPTY_DICT
        # True: the provider said that the response is over; what comes next is another step.
        self.response_is_over: bool = False
        self.usage_was_reported: bool = False
        # True: the provider reported the usage of the current step.
        self.step_was_counted: bool = False
        # True: deltas came in the current step.
        self.has_streamed: bool = False
        # True: the deltas last fed had something that a reader waits for.
        self.had_content: bool = False
        self._heads = Heads(run_id, message_id)
        self._start_choices(self._heads.message_id)
        self._step_usage: dict[str, int] = EMPTY_DICT
        self._usage: dict[str, int] = EMPTY_DICT
        self.usage_before: dict[str, int] = EMPTY_DICT
        """Tokens of the steps before the current one, as far as providers said."""
        # Ids of calls that were shown as assistant messages, and whose receipts have not come yet.
        self._receipts: dict[str, None] = EMPTY_DICT
        # Whole messages with an id of their own; one id at a time.
        self._whole: NumberedHeads | None = None

    # --- steps ------------------------------------------------------------------------------------

    def start_step(
        self, message_id: str, date: str, name: str | None = None, step_id: str | None = None
    ) -> list[MessagePiece]:
        """Begin the next response: new id, index from 0. Returns what the one before held back."""
        out = self.end_step()
        is_untouched = message_id == self._heads.message_id and not (
            self.step_count or self.has_streamed or self._first_heads.has_messages
        )
        self._heads.start_step(message_id, date, name, step_id)
        if not is_untouched:
            self._start_choices(message_id)
        self.usage_before = {**self._usage} if self._usage else EMPTY_DICT
        self.step_count += 1
        self.response_is_over = self.has_refused = self.has_streamed = self.step_was_counted = False
        # Each response has its own end: the last one's is the request's.
        self.provider_reason = self.provider_meaning = self.provider_detail = None
        return out

    def _start_choices(self, message_id: str) -> None:
        self._first_heads = NumberedHeads(self._heads, message_id)
        self._first = Choice(self.settings, self._first_heads)
        self._others: dict[int, Choice] = EMPTY_DICT

    def end_step(self) -> list[MessagePiece]:
        """Let out what is held back, and add up the step's usage. The next step begins with `start_step`."""
        out: Out = []
        self._end_response(out)
        if self._step_usage:
            self._usage = own_dict(self._usage)
            for field, tokens in self._step_usage.items():
                self._usage[field] = self._usage.get(field, 0) + tokens
            self._step_usage = EMPTY_DICT
        return out

    def _end_response(self, out: Out) -> None:
        self._end_choice(self._first, out)
        for choice in self._others.values():
            self._end_choice(choice, out)

    def _end_choice(self, choice: Choice, out: Out) -> None:
        choice.end(out)
        for call_id in choice.take_assistant_call_ids():
            self._expect_receipt(call_id)

    # --- deltas -----------------------------------------------------------------------------------

    def more_text(self, text: str) -> list[MessagePiece] | None:
        """Return the piece of a text that goes on with the first choice's open message; None where it has to be fed.

        What most chunks are: it does what `feed` does with a `Text`, where there is nothing else to do.
        """
        head = self._first.text_head
        if head is None or self.response_is_over or self.settings.expect_reasoning_content:
            return None
        self.has_streamed = self.had_content = True
        return [new_piece((head, text, None))]

    def feed(self, deltas: Sequence[Delta]) -> list[MessagePiece]:
        """Return the pieces of one chunk's deltas. Raises nothing."""
        self.has_streamed = True
        self.had_content = False
        out: Out = []
        for delta in deltas:
            kind = delta.__class__
            if kind is not Text and kind is not ToolCallPiece:
                take = self._ON_RESPONSE.get(kind)
                if take is not None:
                    take(self, delta, out)
                    continue
            self.had_content = True
            if delta.choice == 0:  # type: ignore[union-attr]  # the deltas that concern a choice have it
                self._first.feed(delta, out)
            else:
                self._further_choice(delta, out)
        return out

    def _further_choice(self, delta: Any, out: Out) -> None:
        index: int = delta.choice
        if self.settings.choices != "all":
            self.warn("further_choice_left_out")
            return
        choice = self._others.get(index)
        if choice is None:
            if len(self._others) == _CHOICES_MAX or not 0 < index <= _CHOICE_INDEX_MAX:
                self.warn("too_many_choices")
                return
            heads = NumberedHeads(self._heads, derived_message_id(self._heads.message_id, index), index)
            self._others = own_dict(self._others)
            choice = self._others[index] = Choice(self.settings, heads)
        choice.feed(delta, out)

    def _take_refusal(self, delta: Refusal, out: Out) -> None:
        self.has_refused = self.had_content = True
        if delta.choice == 0:
            self._first.feed(delta, out)
        else:
            self._further_choice(delta, out)

    def _take_finish(self, finish: Finish, _out: Out) -> None:
        if finish.choice != 0 and (self.settings.choices != "all" or self.provider_reason is not None):
            return
        self.provider_reason, self.provider_meaning = finish.reason, finish.meaning
        self.provider_detail = finish.detail or self.provider_detail
        if finish.meaning is None and meaning_of(finish.reason) is None:
            self.warn("unknown_finish_reason")
            self._count_unknown(f"finish reason {finish.reason[:_WORD_CHARS_MAX]}")

    def _take_model(self, model: Model, _out: Out) -> None:
        self.model = model.name

    def _take_unknown(self, unknown: Unknown, _out: Out) -> None:
        self._count_unknown(unknown.what)

    def _count_unknown(self, what: str) -> None:
        self.unknown = own_dict(self.unknown)
        count(self.unknown, what)

    def _take_error(self, error: StreamError, out: Out) -> None:
        self.error_message(error.kind, error.text, out)

    def _take_done(self, _done: Done, out: Out) -> None:
        self._end_response(out)
        self.response_is_over = True

    def _take_usage(self, usage: Usage, _out: Out) -> None:
        self.usage_was_reported = self.step_was_counted = True
        known = self._step_usage = own_dict(self._step_usage)
        counts = (
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.total_tokens,
            usage.cached_tokens,
            usage.reasoning_tokens,
        )
        for field, tokens in zip(_USAGE_FIELDS, counts, strict=False):
            # Zero in place of a count: the server forgot it, it did not take it back.
            if tokens is not None and 0 <= tokens <= _TOKENS_MAX and (tokens or not known.get(field)):
                known[field] = tokens

    # The deltas that concern the response as a whole, by class; the others concern a choice.
    _ON_RESPONSE: ClassVar[dict[type, Callable[[Interface, Any, Out], None]]] = {
        Usage: _take_usage,
        Finish: _take_finish,
        Model: _take_model,
        Unknown: _take_unknown,
        StreamError: _take_error,
        Done: _take_done,
        Refusal: _take_refusal,
    }

    # --- whole messages -----------------------------------------------------------------------------

    def add(self, body: Mapping[str, Any]) -> list[MessagePiece]:
        """Return the pieces of a whole message (`actors/records.py` says which fields it may have).

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
        out.append(MessagePiece(self._whole_head(kind, body, fields), text))
        return out

    def _add_tool_call(self, body: Mapping[str, Any], out: Out) -> None:
        call = body["tool_call"]
        fields: Fields = {"tool_call_id": call.get("tool_call_id")}
        if body.get("provider_executed"):
            fields["provider_executed"] = True
        head = self._whole_head(TOOL_CALL, body, fields)
        out.append(MessagePiece(head, call.get("arguments"), {"tool_name": call["name"]}))

    def _whole_head(self, kind: str, body: Mapping[str, Any], fields: Fields) -> Head:
        message_id = body.get("id")
        if message_id is None or message_id == self._heads.message_id:
            heads = self._first_heads
        else:
            if self._whole is None or message_id != self._whole.message_id:
                self._whole = NumberedHeads(self._heads, message_id)
            heads = self._whole
        head = heads.next(kind, fields)
        own = {key: body[key] for key in ("date", "name", "otid", "sender_id", "step_id") if key in body}
        return Head(kind, {**head.fields, **own}) if own else head

    def _expect_receipt(self, call_id: str) -> None:
        self._receipts = own_dict(self._receipts)
        self._receipts[call_id] = None
        if len(self._receipts) > _RECEIPTS_MAX:
            self._receipts.pop(next(iter(self._receipts)))

    def _is_receipt(self, body: Mapping[str, Any]) -> bool:
        call_id = body.get("tool_call_id")
        if body.get("status") != "success" or call_id not in self._receipts:
            return False
        del self._receipts[call_id]
        return True

    # --- messages beside the responses ----------------------------------------------------------------

    def control_head(self, kind: str, fields: Fields) -> Head:
        """Return the head of a message that belongs to no response (error, terminal): it has no otid."""
        return self._heads.control_head(kind, fields)

    def error_message(self, error_type: str, text: str, out: Out, detail: str | None = None) -> None:
        """Append an error message; the request's end will be an error."""
        out.append(self._heads.error_message(error_type, text, detail))

    def warn(self, name: str) -> None:
        """Count a named warning."""
        self._heads.warn(name)

    @property
    def warnings(self) -> dict[str, int]:
        """What was out of the ordinary, by name."""
        return self._heads.warnings

    # --- what is known at the end -----------------------------------------------------------------------

    @property
    def error(self) -> bool:
        """True: the request has an error message."""
        return self._heads.error_count > 0

    @property
    def message_count(self) -> int:
        """The number of messages begun so far, errors and the terminal included."""
        return self._heads.message_count

    @property
    def has_said_something(self) -> bool:
        """True: the last response has messages."""
        return self._first_heads.has_messages

    @property
    def has_called_tools(self) -> bool:
        """True: the last response called tools that the provider does not run itself."""
        return self._first.has_called_tools or any(choice.has_called_tools for choice in self._others.values())

    @property
    def usage(self) -> dict[str, int | None]:
        """Tokens of all steps together, the current one included; None: no provider said."""
        total: dict[str, int | None] = {}
        for field in _USAGE_FIELDS:
            known = [counts[field] for counts in (self._usage, self._step_usage) if field in counts]
            total[field] = sum(known) if known else None
        return total


_HEAD_FIELDS = frozenset({"message_type", "id", "date", "name", "otid", "sender_id", "run_id", "seq_id", "step_id"})
