"""A Ray that does not start is an error that says what to do."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
import ray

from actors.errors import RayUnavailable
from router.config import RayConfig
from router.on_ray import cluster
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


class Listener:
    """Listens as something that is no Ray: gives one answer to whatever it is told, or none."""

    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._socket.accept()
            self._held.append(connection)
            if self._answer is not None:
                connection.recv(64)
                connection.sendall(self._answer)
                connection.close()

    def close(self) -> None:
        self._socket.close()
        for connection in self._held:
            connection.close()
        self._thread.join(5)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it answers b'HTTP/1.1 '"),
        (b"", "it closes the connection|Connection reset"),
        (None, "it said nothing for 0.2 s"),
    ],
)
def test_what_listens_and_is_no_ray_is_told_in_one_line_before_ray_is_asked(answer, said, monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **_options: pytest.fail("Ray would try for minutes"))
    monkeypatch.setattr(cluster, "GREETING_DEADLINE_S", 0.2)
    listener = Listener(answer)
    try:
        with pytest.raises(RayUnavailable, match=f"is no Ray: ({said})") as told:
            ensure_ray(RayConfig(address=listener.address), "agents")
    finally:
        listener.close()
    assert "\n" not in str(told.value)
    assert told.value.__cause__ is None


def test_what_greets_as_ray_does_is_left_to_ray(monkeypatch):
    asked = []
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **options: asked.append(options["address"]))
    listener = Listener(b"\x00\x00\x18\x04\x00\x00\x00\x00\x00")
    try:
        assert ensure_ray(RayConfig(address=listener.address), "agents")
    finally:
        listener.close()
    assert asked == [listener.address]
