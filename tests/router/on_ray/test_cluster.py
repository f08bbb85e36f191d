"""A Ray that does not start is an error that says what to do."""

from __future__ import annotations

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
