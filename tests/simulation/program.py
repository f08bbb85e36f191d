"""What all programs of the client processes have in common."""

from __future__ import annotations

from router.client.stream_router import StreamRouter

from .loop import Process

OBSERVER = -1


class Program:
    """Something that runs in a client process and must end."""

    process: Process
    number: int

    def __init__(self, name: str) -> None:
        self.name = name
        self.ended = False

    @property
    def is_done(self) -> bool:
        return self.ended or not self.process.alive

    @property
    def waits_on_door(self) -> bool:
        """Whether what it waits for comes through its process's `StreamRouter`, and so ends when that is closed."""
        return True

    @property
    def is_beside(self) -> bool:
        """Whether it comes when all others of its request are done."""
        return False

    def describe(self) -> str:
        return self.name

    async def run(self, client: StreamRouter) -> None:
        try:
            await self.act(client)
        finally:
            self.ended = True

    async def act(self, client: StreamRouter) -> None:
        raise NotImplementedError

    def process_died(self, process: Process) -> None:
        """A process died, perhaps this program's."""
