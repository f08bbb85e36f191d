"""How a scripted stream is played: its pace and its faults. Pure: no clock, no network.

A `Script` holds the settings; `plan` turns a recording's events into steps (wait, then write these
bytes) and one ending. The same script and the same key give the same plan, so that a load test with
a seed sees the same provider again.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from actors.errors import ConfigError
from actors.settings import explain

SCRIPT_HEADER = "x-script"
"""A request header whose value, written like a query (`stall_s=2&cut_after=5`), changes the script."""

_BLOCK_END = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")


class Script(BaseModel):
    """Pace and faults of one stream. Positions count the recording's events from 0."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    events_per_s: float = Field(20.0, ge=0, description="Pace before `speed`; 0: as fast as the line takes it.")
    speed: float = Field(1.0, gt=0, description="All waits are divided by this.")
    jitter: float = Field(0.0, ge=0, le=1, description="0: an even pace; 1: each wait between nothing and twice it.")
    first_event_s: float = Field(0.0, ge=0, description="Wait before the first event, as a model takes to think.")
    stall_s: float = Field(0.0, ge=0, description="One long wait in mid-stream ...")
    stall_after: int | None = Field(None, ge=0, description="... after so many events; None: somewhere, by the seed.")
    split_bytes_max: int | None = Field(None, ge=1, description="Write in pieces of at most so many bytes.")

    status: int | None = Field(None, ge=400, le=599, description="Answer with this HTTP status instead.")
    status_body: Literal["json", "html", "empty"] = "json"
    retry_after_s: int | None = Field(None, ge=0, description="Retry-After of that answer.")
    cut_after: int | None = Field(None, ge=0, description="Cut the connection in the middle of the next event.")
    error_after: int | None = Field(None, ge=0, description="End with an error event after so many events.")
    omit_done: bool = Field(default=False, description="Leave out the provider's end marker.")

    fault_rate: float = Field(1.0, ge=0, le=1, description="Share of requests that get the faults above.")
    fail_first: int | None = Field(
        None, ge=0, description="Only the first so many requests of a key get the faults (to try retries)."
    )
    seed: int = 0

    @classmethod
    def load(cls, *layers: Mapping[str, Any]) -> Self:
        """Validate settings given in layers, later ones first in rank. Raises ConfigError by key."""
        merged: dict[str, Any] = {}
        for layer in layers:
            merged.update(layer)
        try:
            return cls.model_validate(merged)
        except ValidationError as error:
            raise ConfigError(f"script: {explain(error, cls)}") from None


def parse_header(text: str) -> dict[str, str]:
    """Return the settings of a script header."""
    return dict(parse_qsl(text, keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Step:
    """Wait so long, then write these bytes."""

    wait_s: float
    data: bytes


@dataclass(frozen=True, slots=True)
class Plan:
    """What one stream does. `ending`: eof (a proper end of the body) or cut (the connection breaks)."""

    steps: Sequence[Step]
    ending: Literal["eof", "cut"] = "eof"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP error instead of a stream."""

    status: int
    body: Literal["json", "html", "empty"]
    retry_after_s: int | None


def split_events(body: bytes) -> list[bytes]:
    """Cut a recorded body into its events, each with the blank line that ends it; joined they are the body."""
    events = []
    start = 0
    for match in _BLOCK_END.finditer(body):
        events.append(body[start : match.end()])
        start = match.end()
    if start < len(body):
        events.append(body[start:])
    return events


def plan(events: Sequence[bytes], api: str, script: Script, key: str, ordinal: int = 0) -> Plan | Refusal:
    """Return what the `ordinal`-th request of a key gets.

    `api` decides what an error event and an end marker look like. The random choices come from
    `script.seed`, `key` and `ordinal` alone.
    """
    # Text seeds are hashed in the same way by every process; the tuple's own hash is not.
    rng = random.Random(f"{script.seed}/{key}/{ordinal}")
    faulty = rng.random() < script.fault_rate and (script.fail_first is None or ordinal < script.fail_first)
    if faulty and script.status is not None:
        return Refusal(script.status, script.status_body, script.retry_after_s)

    if script.stall_after is None:
        script = script.model_copy(update={"stall_after": rng.randrange(1, max(len(events), 2))})
    steps, ending = _steps(events, api, script, rng, faulty=faulty)
    if script.split_bytes_max is not None:
        steps = [piece for step in steps for piece in _split(step, script.split_bytes_max, rng)]
    return Plan(steps, ending)


def _steps(
    events: Sequence[bytes], api: str, script: Script, rng: random.Random, *, faulty: bool
) -> tuple[list[Step], Literal["eof", "cut"]]:
    steps: list[Step] = []
    for index, event in enumerate(events):
        if faulty and script.error_after == index:
            return [*steps, Step(_pace_s(script), error_event(api))], "eof"
        wait_s = _wait_s(script, index, rng)
        if faulty and script.cut_after == index:
            return [*steps, Step(wait_s, event[: len(event) // 2])], "cut"
        if not (script.omit_done and is_end_marker(event)):
            steps.append(Step(wait_s, event))
    return steps, "eof"


def _pace_s(script: Script) -> float:
    return 1 / (script.events_per_s * script.speed) if script.events_per_s else 0.0


def _wait_s(script: Script, index: int, rng: random.Random) -> float:
    """Return the wait before an event: the pace with its jitter, and the stall where it is due."""
    if index == 0:
        wait_s = script.first_event_s / script.speed
    else:
        wait_s = _pace_s(script) * (1 + script.jitter * rng.uniform(-1, 1))
    if script.stall_s and index == script.stall_after:
        wait_s += script.stall_s / script.speed
    return wait_s


def is_end_marker(event: bytes) -> bool:
    """Whether an event is only the provider's end marker."""
    lines = event.split()
    return lines in ([b"data:", b"[DONE]"], [b"data:[DONE]"]) or lines[:2] == [b"event:", b"message_stop"]


def error_event(api: str) -> bytes:
    """Return an error in mid-stream as a provider of this kind sends it."""
    text = "The server had an error while processing your request (scripted)"
    if api == "anthropic-messages":
        body: dict[str, Any] = {"type": "error", "error": {"type": "overloaded_error", "message": text}}
        return b"event: error\ndata: " + json.dumps(body).encode() + b"\n\n"
    if api == "openai-responses":
        body = {"type": "error", "code": "server_error", "message": text, "param": None, "sequence_number": 0}
        return b"event: error\ndata: " + json.dumps(body).encode() + b"\n\n"
    if api == "gemini":
        body = {"error": {"code": 503, "message": text, "status": "UNAVAILABLE"}}
        return b"data: " + json.dumps(body).encode() + b"\r\n\r\n"
    body = {"error": {"message": text, "type": "server_error", "code": "server_error"}}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def _split(step: Step, bytes_max: int, rng: random.Random) -> list[Step]:
    pieces = []
    start = 0
    wait_s = step.wait_s
    while start < len(step.data):
        stop = start + rng.randint(1, bytes_max)
        pieces.append(Step(wait_s, step.data[start:stop]))
        start, wait_s = stop, 0.0
    return pieces
