"""CPU and memory of the processes of a load test that run on this machine, by role."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from dataclasses import dataclass

import psutil

DRIVER, ROUTER, STREAM_ACTOR, PUBLISHER, READER, GATEWAY, PROVIDER, RAY = (
    "driver",
    "router",
    "stream actor",
    "publisher",
    "reader",
    "gateway",
    "provider",
    "ray",
)
MB = 1e6


@dataclass
class ProcessFigures:
    """One process over its life in the test. `cpu_s` of both kinds; memory without pages shared with others."""

    role: str
    pid: int
    cpu_s: float = 0.0
    memory_mb: float = 0.0
    memory_mb_max: float = 0.0
    first_cpu_s: float = 0.0


@dataclass(frozen=True)
class Sample:
    """One measurement of all processes. `cpu_cores` and `memory_mb` by role."""

    at_s: float
    cpu_cores: dict[str, float]
    memory_mb: dict[str, float]


class ProcessSampler:
    """Measures processes of this machine from time to time."""

    def __init__(self) -> None:
        self.figures: dict[int, ProcessFigures] = {}
        self._processes: dict[int, psutil.Process] = {}
        self._roles: dict[int, str] = {os.getpid(): DRIVER}
        self._last_at: float | None = None

    def know(self, pid: int, role: str) -> None:
        """Set a process's role. Child processes without one are Ray's own, or the provider."""
        if self._roles.get(pid) != role:
            self._roles[pid] = role
            self.figures.pop(pid, None)

    def sample(self, at_s: float) -> Sample:
        """Measure all processes now."""
        now = time.monotonic()
        passed_s = None if self._last_at is None else max(now - self._last_at, 1e-3)
        self._last_at = now
        cores: defaultdict[str, float] = defaultdict(float)
        memory: defaultdict[str, float] = defaultdict(float)
        for pid, role in self._roles_now().items():
            figures = self._look(pid, role)
            if figures is None:
                continue
            known, cpu_s = figures
            if passed_s is not None:
                cores[role] += max(0.0, cpu_s - known.cpu_s) / passed_s
            known.cpu_s = cpu_s
            memory[role] += known.memory_mb
        return Sample(
            round(at_s, 2),
            {role: round(value, 3) for role, value in cores.items()},
            {role: round(value, 1) for role, value in memory.items()},
        )

    def _roles_now(self) -> dict[int, str]:
        roles = dict(self._roles)
        for child in psutil.Process().children(recursive=True):
            if child.pid not in roles:
                roles[child.pid] = self._role_of(child)
        return roles

    def _role_of(self, process: psutil.Process) -> str:
        try:
            is_provider = "router.scripted_provider" in process.cmdline()
        except psutil.Error:
            return RAY
        if is_provider:
            self._roles[process.pid] = PROVIDER
        return PROVIDER if is_provider else RAY

    def _look(self, pid: int, role: str) -> tuple[ProcessFigures, float] | None:
        try:
            process = self._processes.get(pid)
            if process is None:
                process = self._processes[pid] = psutil.Process(pid)
            with process.oneshot():
                times, memory = process.cpu_times(), process.memory_info()
        except psutil.Error:
            return None
        cpu_s = times.user + times.system
        known = self.figures.get(pid)
        if known is None:
            known = self.figures[pid] = ProcessFigures(role, pid, cpu_s=cpu_s, first_cpu_s=cpu_s)
        known.role = role
        known.memory_mb = (memory.rss - getattr(memory, "shared", 0)) / MB
        known.memory_mb_max = max(known.memory_mb_max, known.memory_mb)
        return known, cpu_s
