"""One seed, one run, one outcome; the same seed gives the same outcome, line by line."""

from __future__ import annotations

import gc
import hashlib
from dataclasses import dataclass

from .scenario import draw
from .world import World


@dataclass(frozen=True)
class Harder:
    """What makes a seed's scenario harder; see `scenario.draw`."""

    roughness: float | None = None
    incident: str | None = None
    lingers: bool = False


@dataclass
class Outcome:
    seed: int
    failures: list[str]
    lines: list[str]
    seconds: float
    calls: int
    failed_calls: int
    steps: int

    @property
    def digest(self) -> str:
        """What two runs of the same seed have in common: everything that was told."""
        return hashlib.sha256("\n".join([*self.lines, str(self.calls), str(self.steps)]).encode()).hexdigest()


def run_seed(seed: int, *, tells: bool = False, harder: Harder | None = None) -> Outcome:
    """Run the scenario of a seed, made harder if so asked; never raises for what goes wrong in it."""
    harder = harder or Harder()
    was_enabled = gc.isenabled()
    # Collected at odd moments, a dead coroutine would unwind at odd moments.
    gc.disable()
    world = World(seed, draw(seed, **vars(harder)), tells=tells)
    try:
        world.run()
    except Exception as error:
        world.fail(f"the run itself broke: {type(error).__name__}: {error}")
        if tells:
            raise
    finally:
        world.close()
        if was_enabled:
            gc.enable()
    loop, network = world.loop, world.network
    return Outcome(seed, world.failures, world.lines or [], loop.now, network.calls, network.failed, loop.steps)
