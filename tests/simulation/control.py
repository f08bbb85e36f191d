"""Ray's control store: it makes, kills and lists actors, says who has died, and starts routers again. It may stand still.

Whoever asks it meanwhile waits: a thread for itself, an event loop with all that runs on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .loop import PROCESS, Hangs

if TYPE_CHECKING:
    from .world import World


class ControlStore:
    """The control store of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.back_at = 0.0

    @property
    def is_stopped(self) -> bool:
        """Whether it stands still now."""
        return self._world.loop.now < self.back_at

    def stop(self, seconds: float) -> None:
        """Stand still for so long."""
        self._world.tell(f"the control store stops for {seconds:g} s")
        self.back_at = self._world.network.death_known_from = self._world.loop.now + seconds

    @property
    def left_s(self) -> float:
        """How long it will yet stand still."""
        return max(0.0, self.back_at - self._world.loop.now)

    def asked(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return what stands in for a call that only the control store can answer."""

        def waiting(*arguments: Any) -> Any:
            process = PROCESS.get()
            if self.is_stopped and process is not None:
                if self._world.loop.is_in_thread:
                    raise Hangs(self.back_at)
                self._world.faults.block(process, self.left_s)
            return call(*arguments)

        return waiting
