"""How this process comes by Ray; it never initialises Ray behind a caller who has already done so."""

from __future__ import annotations

import logging
import os
from typing import Any

import ray

from actors.errors import RayUnavailable
from router.config import RayConfig

log = logging.getLogger(__name__)


def ensure_ray(config: RayConfig, namespace: str) -> bool:
    """Make sure that Ray runs in this process; True if it was initialised here, and is ours to shut down.

    Raises RayUnavailable.
    """
    if ray.is_initialized():
        log.info("Ray is initialised already; it is used as it is")
        return False
    address = config.address
    options: dict[str, Any] = {"namespace": namespace, "log_to_driver": config.log_to_driver}
    if config.is_embedded:
        # Ray's own value, 15, lets a busy driver starve the actors on a small machine.
        os.environ.setdefault("RAY_worker_niceness", str(config.worker_niceness))
        options |= {"num_cpus": config.num_cpus, "include_dashboard": config.include_dashboard}
    # Ray's hook for `uv run` ships the working directory and starts workers anew; neither is wanted.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    try:
        ray.init(address=address, configure_logging=False, **options)
    except (ConnectionError, OSError, RuntimeError, ValueError, TimeoutError) as error:
        where = "no Ray could be started" if config.is_embedded else f"no Ray can be reached at {address!r}"
        raise RayUnavailable(
            f"{where}: {str(error).splitlines()[0][:300]}; start one with `ray start --head`, or check ray.address in "
            "the configuration (local: a Ray of our own)"
        ) from error
    log.info("Ray was initialised (%s); it is shut down with this router", address or "by Ray's own rules")
    return True
