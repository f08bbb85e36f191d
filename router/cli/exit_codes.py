"""What the exit status of `stream-router` means. Also in the README."""

from __future__ import annotations

OK = 0
"""Done, and all that was checked is right."""

MISMATCH = 1
"""It ran to its end, but something that was checked is not right (a stream that differs from its recording)."""

ERROR = 2
"""It could not be done: bad arguments, a bad file or configuration, no Ray, a provider that fails."""

THRESHOLD = 3
"""It ran to its end, but a threshold of the configuration was breached."""

INTERNAL = 70
"""A defect of this program; please report it."""

INTERRUPTED = 130
"""Ctrl-C."""
