"""What a translation asks of a publisher."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol


class SendChunk(NamedTuple):
    """Send one provider chunk: bytes, text, a mapping or an SDK's object."""

    chunk: Any


class SendMessage(NamedTuple):
    """Send a whole message (`actors/records.py`)."""

    body: dict[str, Any]


class BeginStep(NamedTuple):
    """Begin a step of this agent."""

    name: str | None


class SetToolRunning(NamedTuple):
    """Tools run from here on, or no longer: while they do, silence is no stall."""

    is_running: bool


class Ended(NamedTuple):
    """The framework's run is over, and this is why; it counts where nothing follows and no other reason is given."""

    stop_reason: str


Instruction = SendChunk | SendMessage | BeginStep | SetToolRunning | Ended


class Translation(Protocol):
    """Turns the events of one source into instructions."""

    provider: str | None
    """Whose events its chunks are, whatever provider is behind the framework; None: those of the provider itself."""
    result: Any
    """What the framework gives as the result of its run; None where it gives none in its stream."""

    def feed(self, event: Any) -> list[Instruction]:
        """Return what one event asks for."""
        ...

    def close(self) -> list[Instruction]:
        """Return what was held back; called once, when the source has ended without an error."""
        ...


def as_text(value: object) -> str | None:
    """Return a non-empty string, or None for all else."""
    return value if isinstance(value, str) and value else None
