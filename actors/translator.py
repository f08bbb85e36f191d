"""One request's translation: chunks and records in, pieces out. Pure: no Ray, no clock, no I/O.

    raw payload --decode once--> adapter --deltas--> interface --> pieces

A translator takes anything: what cannot be read becomes an `error_message` in this request, and what
comes after it is translated all the same. Its only exceptions are RequestEnded (something came after
`end`) and InvalidRecord (a record of an unknown kind).

Everything that comes out is determined by what went in. Where no id is given, the id of the k-th
response is made from the run id and k; where no date is given, it is EPOCH_DATE, since a pure
translator has no clock: give it the date.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.deltas import (
    Delta,
    Done,
    Finish,
    Model,
    StreamError,
    Text,
    Unknown,
    Usage,
)
from actors.errors import InvalidRecord, MalformedChunk, RequestEnded
from actors.interface.heads import EPOCH_DATE, derived_message_id
from actors.interface.interface import Interface, is_token_count
from actors.interface.surrogates import SurrogateMender
from actors.interface.think_tags import ThinkTags
from actors.messages import MessagePiece
from actors.providers import make_adapter
from actors.providers.decode import decode
from actors.providers.detect import AutoAdapter
from actors.providers.payloads import DONE, read_payload
from actors.settings import Provider, StreamSettings
from actors.stop_reasons import StopReason, from_provider, ordinary_end

__all__ = ["DONE", "Translator"]
_SHOWN_BYTES_MAX = 300
# Deltas that carry nothing a reader waits for: they neither count as content nor begin another step.
_WITHOUT_CONTENT = frozenset({Model, Unknown, Usage, Done, StreamError, Finish})


class Translator:
    """Translates the chunks and records of one request; `end` gives the terminal."""

    __slots__ = (
        "_adapter",
        "_chunk_count",
        "_date",
        "_has_whole_messages",
        "_is_between_steps",
        "_mender",
        "_message_id",
        "_name",
        "_run_id",
        "_settings",
        "_think_tags",
        "_whole_count",
        "ended",
        "interface",
        "last_had_content",
        "provider",
    )

    def __init__(
        self,
        settings: StreamSettings,
        *,
        run_id: str,
        message_id: str | None = None,
        message_date: str | None = None,
        name: str | None = None,
        emit_run_id: bool = True,
    ) -> None:
        self._settings = settings
        self._run_id = run_id
        self._message_id = message_id or derived_message_id(run_id, 0)
        self._date = message_date or EPOCH_DATE
        self._name = name
        self.provider: Provider = settings.provider
        """Whose events the chunks are: as set, or as the first chunk told; `auto` until then."""
        self._adapter = make_adapter(self.provider)
        self._mender: SurrogateMender | None = None
        self._think_tags = ThinkTags() if settings.split_think_tags else None
        self._chunk_count = 0
        self._whole_count = 0
        self._has_whole_messages = False
        self._is_between_steps = False
        self.interface: Interface = Interface(
            settings, run_id=run_id if emit_run_id else None, message_id=self._message_id
        )
        self.ended: bool = False
        # True: the last chunk had content. Keepalives, pings and empty deltas have none.
        self.last_had_content: bool = False

    # --- chunks ---------------------------------------------------------------------------------------

    def chunk(self, payload: bytes) -> list[MessagePiece]:
        """Return the pieces of one event's payload: JSON, `[DONE]`, or nothing (a keepalive).

        A payload that cannot be read gives an error message with the (shortened) payload in it, and
        makes the request's end an error. Raises RequestEnded after `end`.
        """
        if self.ended:
            self._refuse("a chunk")
        self.last_had_content = False
        self._chunk_count += 1
        deltas = self._adapter.common(payload)
        if deltas is None:
            return self._whole(payload)
        if isinstance(deltas, str):
            if self._mender is None is self._think_tags:
                pieces = self.interface.more_text(deltas)
                if pieces is not None:
                    self.last_had_content = True
                    return pieces
            deltas = [Text(deltas)]
        if self._mender is not None:
            deltas = self._mender.mend(deltas)
        return self._feed(deltas)

    def _whole(self, payload: bytes) -> list[MessagePiece]:
        """Take what has no common shape: decode all of it."""
        if payload == DONE:
            self._chunk_count -= 1
            return self._feed([Done()])
        self._whole_count += 1
        try:
            deltas = self._adapter.feed(decode(payload))
        except (ValueError, MalformedChunk):
            return self._unusual(payload)
        if self.provider == "auto":
            self._know_provider()
        if self._mender is not None:
            deltas = self._mender.mend(deltas)
        return self._feed(deltas)

    def _know_provider(self) -> None:
        """Leave everything to the adapter that was found, if one was."""
        adapter = self._adapter
        if isinstance(adapter, AutoAdapter) and adapter.found is not None:
            self.provider, self._adapter = adapter.provider, adapter.found

    def _unusual(self, payload: bytes) -> list[MessagePiece]:
        """Take what is not simply one JSON object: keepalives, several documents, a name ahead, halves of pairs."""
        if len(payload) > self._settings.chunk_bytes_max:
            return self._malformed(payload, f"longer than chunk_bytes_max ({self._settings.chunk_bytes_max} bytes)")
        read = read_payload(payload)
        if read.has_halves and self._mender is None:
            # Only JSON whose strings hold half a surrogate pair comes here: from now on its other half may follow.
            self._mender = SurrogateMender()
        if read.broken is None and not any(read.events):
            self._chunk_count -= 1
            self._whole_count -= 1
        out: list[MessagePiece] = []
        for event in read.events:
            deltas: list[Delta] = [Done()] if event is None else self._adapter.feed(event)
            if self.provider == "auto":
                self._know_provider()
            out += self._feed(deltas if self._mender is None else self._mender.mend(deltas))
        if read.broken is not None:
            out += self._malformed(payload, read.broken)
        return out

    def _feed(self, deltas: list[Delta]) -> list[MessagePiece]:
        interface = self.interface
        if self._think_tags is not None:
            deltas = self._think_tags.split(deltas)
            if any(delta.__class__ is Done for delta in deltas):
                deltas = self._think_tags.rest() + deltas
        before: list[MessagePiece] = []
        if interface.step_count == 0 or (interface.response_is_over and _have_content(deltas)):
            before = self._next_step()
        out = interface.feed(deltas)
        if interface.had_content:
            self.last_had_content = True
        return before + out if before else out

    def _malformed(self, payload: bytes, reason: str) -> list[MessagePiece]:
        out: list[MessagePiece] = [] if self.interface.step_count else self._next_step()
        shown = payload[:_SHOWN_BYTES_MAX].decode("utf-8", "replace")
        more = f" … ({len(payload)} bytes)" if len(payload) > _SHOWN_BYTES_MAX else ""
        text = f"Expected one provider event as a JSON object, got what cannot be read ({reason[:_SHOWN_BYTES_MAX]})."
        self.interface.error_message("malformed_chunk", text, out, shown + more)
        return out

    # --- records ----------------------------------------------------------------------------------------

    def record(self, kind: str, body: Mapping[str, Any]) -> list[MessagePiece]:
        """Return the pieces of a record: `step_start`, `message` or `step_end`.

        The body is trusted: `actors.records.check_record` checks it where it enters.
        Raises InvalidRecord for an unknown kind, RequestEnded after `end`.
        """
        if self.ended:
            self._refuse(f"a {kind} record")
        if kind == "step_start":
            out = self._finish_adapter()
            self._begin_adapter()
            named = (body.get(key) for key in ("message_id", "date", "name", "step_id"))
            return out + self._next_step(*named)
        if kind == "step_end":
            return self._end_step()
        if kind == "message":
            self._has_whole_messages = True
            if self.interface.step_count == 0:
                return self._next_step() + self.interface.add(body)
            return self.interface.add(body)
        raise InvalidRecord(f"expected a record of kind step_start, message or step_end, got {kind!r}")

    def _end_step(self) -> list[MessagePiece]:
        interface = self.interface
        if self._is_between_steps:
            # A step of whole messages only, which needs no `step_start`.
            interface.step_count += 1
        out = self._finish_adapter()
        self._begin_adapter()
        out += interface.end_step()
        interface.response_is_over = self._is_between_steps = True
        return out

    def _next_step(
        self,
        message_id: str | None = None,
        date: str | None = None,
        name: str | None = None,
        step_id: str | None = None,
    ) -> list[MessagePiece]:
        self._is_between_steps = self._has_whole_messages = False
        step = self.interface.step_count
        if message_id is None:
            message_id = derived_message_id(self._run_id, step) if step else self._message_id
        return self.interface.start_step(message_id, date or self._date, self._name if name is None else name, step_id)

    def _finish_adapter(self) -> list[MessagePiece]:
        """Let the adapter give out what it held back: it is done."""
        deltas = self._adapter.close()
        if self._mender is not None:
            deltas = self._mender.mend(deltas) + self._mender.rest()
        if self._think_tags is not None:
            deltas = self._think_tags.split(deltas) + self._think_tags.rest()
        return self.interface.feed(deltas) if deltas else []

    def _begin_adapter(self) -> None:
        """Get a fresh adapter for the next response."""
        self._adapter = make_adapter(self.provider)

    # --- the end ----------------------------------------------------------------------------------------

    def end(
        self,
        stop_reason: str | None = None,
        *,
        usage: Mapping[str, Any] | None = None,
        detail: str | None = None,
        error: tuple[str, str] | None = None,
    ) -> list[MessagePiece]:
        """Return what was held back, then the error message if any, the stop reason and the usage.

        stop_reason None: the provider's finish reason decides. Without one the stream is `incomplete`, but
        `end_turn` where the last step was whole messages only, or where the provider counted the tokens and sent
        its end marker; after an error it is `error`. `usage` counts
        instead of what the provider reported, field by field. `error` is (error_type, text). Raises
        RequestEnded when the request has ended before.
        """
        if self.ended:
            self._refuse("an end")
        interface = self.interface
        out = [] if interface.step_count else self._next_step()
        out += self._finish_adapter()
        out += interface.end_step()
        self.ended = True
        if error is not None:
            interface.error_message(error[0], error[1], out)
        provider_reason = interface.provider_reason
        if stop_reason is None:
            stop_reason = self._stop_reason()
            detail = interface.provider_detail if detail is None else detail
        fields = {"stop_reason": str(stop_reason), "provider_reason": provider_reason, "detail": detail}
        out.append(MessagePiece(interface.control_head("stop_reason", fields)))
        out.append(MessagePiece(interface.control_head("usage_statistics", self._usage(usage))))
        return out

    def _stop_reason(self) -> StopReason:
        interface = self.interface
        if interface.error:
            return StopReason.ERROR
        if interface.provider_reason is None and self._has_whole_messages and not interface.has_streamed:
            # Nothing was streamed, so nothing can have been cut off: the loop said all that it had to say.
            return StopReason.END_TURN
        done = {"has_called_tools": interface.has_called_tools, "has_refused": interface.has_refused}
        if interface.provider_reason is None and interface.response_is_over and interface.step_was_counted:
            # Snowflake knows no finish word: who counts the tokens and says that it is done has said all.
            return ordinary_end(**done) if interface.has_said_something else StopReason.INCOMPLETE
        return from_provider(interface.provider_reason, meaning=interface.provider_meaning, **done)

    def _usage(self, given: Mapping[str, Any] | None) -> dict[str, Any]:
        interface = self.interface
        counts: dict[str, Any] = dict(interface.usage)
        for field, count in (given or {}).items():
            if field in counts and is_token_count(count):
                counts[field] = count
        prompt, completion = counts["prompt_tokens"] or 0, counts["completion_tokens"] or 0
        total = counts["total_tokens"]
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion if total is None else total,
            "cached_tokens": counts["cached_tokens"],
            "reasoning_tokens": counts["reasoning_tokens"],
            "step_count": max(1, interface.step_count),
            "reported": interface.usage_was_reported or bool(given),
        }

    def _refuse(self, what: str) -> None:
        raise RequestEnded(
            f"{what} came after the end of request {self._run_id!r}; publish to a new request, or end later"
        )

    def describe(self) -> dict[str, Any]:
        """Return what a person asks of a running translation: counts, and all that was out of the ordinary."""
        interface = self.interface
        return {
            "provider": self.provider,
            "model": interface.model,
            "chunks": self._chunk_count,
            "chunks_decoded_whole": self._whole_count,
            "messages": interface.message_count,
            "steps": interface.step_count,
            "provider_reason": interface.provider_reason,
            "error": interface.error,
            "unknown": dict(interface.unknown),
            "warnings": dict(interface.warnings),
        }


def _have_content(deltas: list[Delta]) -> bool:
    return any(delta.__class__ not in _WITHOUT_CONTENT for delta in deltas)
