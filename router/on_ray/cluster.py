"""How this process comes by Ray; it never initialises Ray behind a caller who has already done so."""

from __future__ import annotations

import logging
import os
import re
import socket
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import ray

from actors.errors import RayUnavailable, first_line
from router.config import RayConfig

log: logging.Logger = logging.getLogger("router.ray_cluster")

PROBE_DEADLINE_S = 5.0
GREETING_DEADLINE_S = 30.0
"""A head that is busy, or is being restarted, may take its time; one that is none should be told from it."""
# Ray gives a node of its own 30 s to be up, of which it lets the environment lengthen one part, the control process's.
EMBEDDED_TRIES = 2
_GCS_WAIT = "RAY_gcs_server_port_wait_time_s"
_GCS_WAIT_S = 60
_NOT_UP_IN_TIME = re.compile(r"timed out", re.IGNORECASE)
_WHY_CHARACTERS_MAX = 400
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# A client's first bytes in HTTP/2, and a frame of no settings; the server's first frame is its own settings.
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HTTP2_NO_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_HTTP2_HEAD_BYTES, _HTTP2_TYPE_AT, _HTTP2_SETTINGS = 9, 3, 4
_NO_PACKAGE = re.compile(r"No module named '(router|actors)\b")


def ensure_ray(config: RayConfig, namespace: str) -> bool:
    """Make sure that Ray runs in this process; True if it was initialised here, and is ours to shut down.

    A Ray of our own that is not up in time, as happens on a machine whose cores are all busy, is tried once more.

    Raises RayUnavailable.
    """
    if ray.is_initialized():
        log.info("Ray is initialised already; it is used as it is")
        return False
    address = config.address
    if not config.is_embedded:
        _probe(address)
    options: dict[str, Any] = {"namespace": namespace, "log_to_driver": config.log_to_driver}
    if config.runtime_env:
        options["runtime_env"] = dict(config.runtime_env)
    if config.is_embedded:
        # That a Ray for this process alone has a token is nothing that its user must know.
        logging.getLogger("ray._private.authentication.authentication_token_setup").setLevel(logging.ERROR)
        # Ray's own value, 15, lets a busy driver starve the actors on a small machine.
        os.environ.setdefault("RAY_worker_niceness", str(config.worker_niceness))
        os.environ.setdefault(_GCS_WAIT, str(_GCS_WAIT_S))
        options |= {"num_cpus": config.num_cpus, "include_dashboard": config.include_dashboard}
    # Ray's hook for `uv run` ships the working directory and starts workers anew; neither is wanted.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    try:
        _init(EMBEDDED_TRIES if config.is_embedded else 1, {"address": address, **options})
    except Exception as error:  # noqa: BLE001  # Ray raises just that where a node is not up in time
        if not config.is_embedded and isinstance(error, ConnectionError) and "Failed to connect" in str(error):
            # Somebody listens there (see _probe); Ray does not say which of these it was.
            raise RayUnavailable(
                f"{first_line(error)}, though its port answers: no Ray of this version, or one that "
                "wants a token: set RAY_AUTH_MODE=token here and give the cluster's own token (RAY_AUTH_TOKEN, or "
                "~/.ray/auth_token); or this machine is no node of that cluster: `ray start --num-cpus=0 "
                "--address=` with that address makes it one"
            ) from None
        where = "no Ray could be started" if config.is_embedded else f"no Ray can be reached at {address!r}"
        raise RayUnavailable(
            f"{where}: {first_line(error)}; start one with `ray start --head`, or check ray.address in "
            "the configuration (local: a Ray of our own)"
        ) from None
    log.info("Ray was initialised (%s); it is shut down with this router", address or "by Ray's own rules")
    return True


def _init(tries: int, options: dict[str, Any]) -> None:
    """Initialise Ray; where its node is not up in time, do away with what was started of it and try again."""
    before = {child.pid for child in psutil.Process().children()}
    while True:
        tries -= 1
        try:
            ray.init(configure_logging=False, **options)
        except Exception as error:  # Ray raises just that where a node is not up in time
            if tries <= 0 or not _NOT_UP_IN_TIME.search(str(error)):
                raise
            log.warning("Ray was not up in time; it is started once more: %s", str(error).partition("\n")[0][:300])
            _kill_parts_of_ray(before)
        else:
            return


def _kill_parts_of_ray(before: set[int]) -> None:
    """Kill the child processes that a failed `ray.init` leaves behind, and none that was there before it."""
    home = str(Path(ray.__file__).parent) + os.sep
    killed = []
    for child in psutil.Process().children():
        try:
            if child.pid not in before and any(part.startswith(home) for part in child.cmdline()):
                child.kill()
                killed.append(child)
        except psutil.NoSuchProcess:  # it ended by itself
            continue
    psutil.wait_procs(killed, timeout=PROBE_DEADLINE_S)


def why(error: BaseException) -> str:
    """Return in one line why a call to an actor failed: Ray's own text is a page, and the cause is its last line."""
    if isinstance(error, TimeoutError):
        return "no answer in time; it may be waiting for resources (see `ray status`)"
    lines = [line.strip() for line in _COLOUR.sub("", str(error)).splitlines()]
    text = next((line for line in reversed(lines) if line), type(error).__name__)
    if _NO_PACKAGE.search(text):
        return (
            f"{text}: this package is not installed on the cluster's nodes; install it in their image or with pip on "
            "each, or bring its code along with `stream-router start --ship-code`"
        )
    return text[:_WHY_CHARACTERS_MAX]


def _probe(address: str | None) -> None:
    """Refuse an address at which nobody listens: Ray itself would try for a quarter of an hour.

    Raises RayUnavailable.
    """
    where = f"ray.address {address!r}"
    if address in (None, "auto"):
        # The order in which Ray looks: the environment, then the file that `ray start` leaves behind.
        if given := os.environ.get("RAY_ADDRESS"):
            address, where = given, "the environment's RAY_ADDRESS"
        else:
            file = Path(os.environ.get("RAY_TMPDIR", tempfile.gettempdir())) / "ray" / "ray_current_cluster"
            if not file.is_file():
                return  # Ray says quickly that there is none, or starts one, as `address` asks
            address, where = file.read_text(encoding="utf-8").strip(), f"the address file {file}"
    host, _, port = str(address).removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # a form that only Ray knows
    try:
        with socket.create_connection((host.strip("[]"), int(port)), PROBE_DEADLINE_S) as connection:
            greeting = _greeting(connection)
    except OSError as error:
        raise RayUnavailable(
            f"no Ray listens at {address} ({where}): {error}; start one with `ray start --head`, mend the address, or "
            "remove a stale address file; ray.address: local starts a Ray of our own"
        ) from None
    if not greeting.is_of_grpc:
        raise RayUnavailable(
            f"what listens at {address} ({where}) is no Ray: {greeting.said}; give the address that `ray start --head` "
            "has printed (port 6379 by default; the dashboard's 8265 is another)"
        )


class _Greeting(NamedTuple):
    is_of_grpc: bool
    said: str


def _greeting(connection: socket.socket) -> _Greeting:
    """Greet a server as gRPC does, and look at the beginning of its answer: settings, or what another protocol says.

    Ray itself would try for minutes, and write a line about it every few seconds.
    """
    if os.environ.get("RAY_USE_TLS", "0") != "0":
        return _Greeting(is_of_grpc=True, said="")
    try:
        connection.settimeout(GREETING_DEADLINE_S)
        connection.sendall(_HTTP2_PREFACE + _HTTP2_NO_SETTINGS)
        head = connection.recv(_HTTP2_HEAD_BYTES)
    except TimeoutError:
        return _Greeting(is_of_grpc=False, said=f"it said nothing for {GREETING_DEADLINE_S:g} s, or hangs")
    except ConnectionError as error:
        return _Greeting(is_of_grpc=False, said=str(error))
    is_settings = len(head) > _HTTP2_TYPE_AT and head[_HTTP2_TYPE_AT] == _HTTP2_SETTINGS
    return _Greeting(is_settings, f"it answers {head!r}" if head else "it closes the connection")
