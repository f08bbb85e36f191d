"""`QueuingInterface`: agent events in, a queue out.

Each event is an entry: its form in the legacy API, and the stored message behind it. STOP ends a step. A
list takes everything that is queued; a generator takes entries as they come, up to the next STOP.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any, Literal, NamedTuple

from actors.errors import InvalidRecord
from actors.letta.bodies import (
    STATUSES,
    FunctionEvent,
    call_body,
    common_fields,
    monologue_bodies,
    return_body,
    split_event,
)
from actors.letta.mailbox import Mailbox
from actors.letta.message import Message, required
from actors.letta.publisher import Publish

STOP: Literal["STOP"] = "STOP"


class _Item(NamedTuple):
    """One entry of the queue: how the legacy API shows it, and the stored message behind it."""

    api: dict[str, Any] | Literal["STOP"]
    obj: Message | None = None


class QueuingInterface:
    """Agent events in, a queue out: as a list, or as a generator up to the next end of a step.

    Style "api" gives the legacy API's dicts, style "obj" the stored messages.
    """

    def __init__(self, debug: bool = True, *, publish: Publish | None = None) -> None:  # noqa: FBT001, FBT002
        self.debug = debug
        self._publish = publish
        self._mailbox: Mailbox[_Item] = Mailbox()

    # --- out --------------------------------------------------------------------------------------

    def to_list(self, style: Literal["obj", "api"] = "obj") -> list[Any]:
        """Empty the queue into a list. In style "obj" each stored message comes once, at its last entry."""
        _check_style(style)
        items: list[_Item] = []
        queue = self._mailbox.items
        while queue:
            items.append(queue.popleft())
        if style == "api":
            return [item.api for item in items if item.api != STOP]
        last = {item.obj.id: item.obj for item in reversed(items) if item.obj is not None}
        return list(reversed(last.values()))

    async def message_generator(self, style: Literal["obj", "api"] = "obj") -> AsyncGenerator[Any, None]:
        """Yield entries as they come, up to the end of the step. An error is a dict in both styles."""
        _check_style(style)
        while True:
            item = await self._mailbox.next()
            if item is None or item.api == STOP:
                return
            yield item.api if style == "api" or item.obj is None else item.obj

    def clear(self) -> None:
        """Empty the queue."""
        self._mailbox.items.clear()

    # --- in ---------------------------------------------------------------------------------------

    def _queue_push(self, message_api: dict[str, Any] | Literal["STOP"], message_obj: Message | None) -> None:
        self._mailbox.put(_Item(message_api, message_obj))

    def step_yield(self) -> None:
        """End the step: generators end here."""
        if self._publish is not None:
            self._publish.finish()
            return
        self._queue_push(STOP, None)

    @staticmethod
    def step_complete() -> None:
        """Do nothing, as in the reference."""

    def error(self, error: str) -> None:
        """Queue an error, and the end of the step."""
        if self._publish is not None:
            self._publish.fail("internal_error", error)
            return
        self._queue_push({"internal_error": error}, None)
        self._queue_push(STOP, None)

    def user_message(self, msg: str, msg_obj: Message | None = None) -> None:  # noqa: ARG002  # the reference's signature
        """Only check. Raises InvalidRecord without `msg_obj`."""
        required(msg_obj, "user_message")

    def internal_monologue(self, msg: str, msg_obj: Message | None = None, chunk_index: int | None = None) -> None:
        """Queue the agent's reasoning. Raises InvalidRecord without `msg_obj`, or if its date is not UTC."""
        msg_obj = required(msg_obj, "internal_monologue")
        if self._publish is not None:
            for body in monologue_bodies(msg, msg_obj, chunk_index):
                self._publish.message(body)
            return
        self._queue_push({"internal_monologue": msg, **_metadata(msg_obj)}, msg_obj)

    def assistant_message(self, msg: str, msg_obj: Message | None = None) -> None:
        """Queue what the agent says. Without `msg_obj` it belongs to the message queued last.

        Raises InvalidRecord if there is no such message, or if its date is not UTC.
        """
        if self._publish is not None:
            common = common_fields(msg_obj, None) if msg_obj is not None else {}
            self._publish.message({"message_type": "assistant_message", **common, "content": msg})
            return
        if msg_obj is None:
            queue = self._mailbox.items
            msg_obj = queue[-1].obj if queue else None
        if msg_obj is None:
            raise InvalidRecord(
                "assistant_message: expected msg_obj, or a message in the queue that the text belongs to"
            )
        self._queue_push({"assistant_message": msg, **_metadata(msg_obj)}, msg_obj)

    def function_message(
        self,
        msg: str,
        msg_obj: Message | None = None,
        include_ran_messages: bool = False,  # noqa: FBT001, FBT002  # the reference's signature
        chunk_index: int | None = None,
    ) -> None:
        """Queue a tool's call or return. Raises InvalidRecord without `msg_obj`, or if its date is not UTC."""
        msg_obj = required(msg_obj, "function_message")
        event, text = split_event(msg)
        if self._publish is not None:
            if event in STATUSES:
                self._publish.message(return_body(text, STATUSES[event], msg_obj, chunk_index))
            elif event is FunctionEvent.CALLED:
                self._publish.message(call_body(msg_obj, chunk_index, None))
        elif event is not FunctionEvent.RAN or include_ran_messages:
            self._queue_push({**_function_api(event, text), **_metadata(msg_obj)}, msg_obj)


def _function_api(event: FunctionEvent | None, text: str) -> dict[str, Any]:
    match event:
        case FunctionEvent.CALLED:
            return {"function_call": text}
        case FunctionEvent.RAN:
            return {"function_call": f"Function call returned: {text}"}
        case FunctionEvent.RETURNED | FunctionEvent.FAILED:
            return {"function_return": text, "status": STATUSES[event]}
        case None:
            return {"function_message": text}


def _check_style(style: str) -> None:
    if style not in ("obj", "api"):
        raise InvalidRecord(f"style: expected 'obj' or 'api', got {style!r}")


def _metadata(msg_obj: Message) -> dict[str, str]:
    if msg_obj.created_at.tzinfo is None or msg_obj.created_at.utcoffset() != timedelta(0):
        raise InvalidRecord(f"msg_obj.created_at: expected a date in UTC, got {msg_obj.created_at.isoformat()}")
    return {"id": str(msg_obj.id), "date": msg_obj.created_at.isoformat()}
