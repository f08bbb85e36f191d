"""One seed, one run, one outcome; the same seed gives the same outcome, line by line."""

from __future__ import annotations

import gc
import hashlib
from dataclasses import dataclass

from . import hardships
from .features import HELD, NONE, Feature
from .scenario import draw
from .world import World


@dataclass(frozen=True)
class Harder:
    """What makes a seed's scenario harder; see `scenario.draw` and `features.py`.

    `surely`: these features come in every seed; `features`: these by their chance.
    """

    roughness: float | None = None
    incident: str | None = None
    lingers: bool = False
    features: frozenset[Feature] = HELD
    surely: frozenset[Feature] = NONE


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
    scenario = draw(seed, roughness=harder.roughness, incident=harder.incident, lingers=harder.lingers)
    hardships.add(scenario, seed, harder.features - harder.surely)
    hardships.add(scenario, seed, harder.surely, surely=True)
    world = World(seed, scenario, tells=tells)
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
