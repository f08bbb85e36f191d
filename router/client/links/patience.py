"""How long a wait may still last, by the time in which this process has run. Pure.

A process that was stopped (SIGSTOP, a paused machine) wakes to find all its deadlines passed. Time in
which it could not hear an answer is no silence of others, so of each wait only what was planned counts.
"""

from __future__ import annotations

# A timer that fires so much later than it was set for was held up by a stop of the process.
PAUSE_S = 1.0


class Patience:
    """What is left of a deadline."""

    __slots__ = ("left_s",)

    def __init__(self, deadline_s: float) -> None:
        self.left_s: float = deadline_s

    def spend(self, elapsed_s: float, planned_s: float) -> None:
        """Count a wait that was to last `planned_s` at most and lasted `elapsed_s`."""
        self.left_s -= min(elapsed_s, planned_s + PAUSE_S)

    @property
    def is_over(self) -> bool:
        """Whether the deadline has passed."""
        return self.left_s <= 0


def was_stopped(elapsed_s: float, planned_s: float) -> bool:
    """Whether a timer fired so late that the process must have been stopped meanwhile."""
    return elapsed_s > planned_s + PAUSE_S
