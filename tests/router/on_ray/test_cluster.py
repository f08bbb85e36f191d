"""A Ray that does not start is an error that says what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import ray

from actors.errors import RayUnavailable
from router.config import RayConfig
from router.on_ray.cluster import ensure_ray


# The last one is how Ray says that its node was not up in time: no class of its own.
@pytest.mark.parametrize("raised", [ConnectionError, RuntimeError, ValueError, Exception])
def test_a_ray_that_does_not_start_is_ray_unavailable(raised, monkeypatch):
    def init(**_options):
        raise raised("The current node timed out during startup.\nMore of it.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(RayUnavailable, match=r"no Ray could be started: The current node timed out during startup\.; "):
        ensure_ray(RayConfig(), "agents")


class SlowNode:
    """A `ray.init` whose node is up in time only from the given try on; each failed try leaves processes behind."""

    def __init__(self, ready_at: int, error: str = "The current node timed out during startup."):
        self.tries, self.ready_at, self.error = 0, ready_at, error
        self.left: list[subprocess.Popen[bytes]] = []

    def __call__(self, **_options: object) -> None:
        self.tries += 1
        if self.tries < self.ready_at:
            part = str(Path(ray.__file__).parent / "core" / "a_part")  # how the parts of a node are called
            self.left.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", part]))
            raise Exception(self.error)  # noqa: TRY002  # as Ray does


@pytest.fixture
def slow_node(monkeypatch):
    def install(*arguments):
        node = SlowNode(*arguments)
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(ray, "init", node)
        nodes.append(node)
        return node

    nodes: list[SlowNode] = []
    yield install
    for process in (process for node in nodes for process in node.left):
        process.kill()
        process.wait()


def test_an_embedded_ray_that_is_not_up_in_time_is_started_once_more_and_leaves_nothing_behind(slow_node):
    ours = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", ray.__file__])
    try:
        node = slow_node(2)
        assert ensure_ray(RayConfig(), "agents")
        assert node.tries == 2
        assert not psutil.pid_exists(node.left[0].pid) or node.left[0].poll() is not None
        assert ours.poll() is None, "what ran before is not touched"
    finally:
        ours.kill()
        ours.wait()


def test_an_embedded_ray_is_started_no_more_than_twice(slow_node):
    node = slow_node(99)
    with pytest.raises(RayUnavailable, match="timed out"):
        ensure_ray(RayConfig(), "agents")
    assert node.tries == 2


def test_another_failure_is_not_tried_again(slow_node):
    node = slow_node(99, "no space left on device")
    with pytest.raises(RayUnavailable, match="no space left"):
        ensure_ray(RayConfig(), "agents")
    assert node.tries == 1


def test_somebody_elses_ray_is_not_tried_again(slow_node):
    node = slow_node(99)
    with pytest.raises(RayUnavailable, match="timed out"):
        ensure_ray(RayConfig(address="some-form-that-only-ray-knows"), "agents")
    assert node.tries == 1
