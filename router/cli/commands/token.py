"""`stream-router token`: who a process is, for a service that tenants share."""

from __future__ import annotations

from typing import Annotated

import typer

from router.cli.service_options import PANEL

__all__ = ["PANEL", "command"]

EXAMPLES = (
    "stream-router token team-a --config my.yaml",
    "stream-router token team-a --scope read --ttl-h 24 --config my.yaml",
    "STREAM_ROUTER_TOKEN=$(stream-router token '*' --scope operate --config my.yaml) stream-router drain",
)

HOUR_S = 3600.0


def command(
    subject: Annotated[str, typer.Argument(help="Whose requests: a team's name, or '*' for everybody's.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            metavar="SCOPE",
            help="What may be done: read, publish, cancel, operate; repeatable. Else the first three.",
        ),
    ] = None,
    ttl_h: Annotated[
        float | None, typer.Option("--ttl-h", min=0.01, help="Hours until it expires; else it never does.")
    ] = None,
    config: Annotated[str, typer.Option(help="The service's configuration: it says where the key is.")] = "cluster",
) -> None:
    """Print a token of a service whose configuration has tenants enabled. It is signed with the service's key.

    Processes show it as StreamRouter.connect(token=...), or have it as STREAM_ROUTER_TOKEN in their environment, where
    the commands here look for it too. Who has the key can make any token: keep it where the routers run.
    """
    import sys
    import time

    from router.config import load_config
    from router.on_ray.keys import read_key

    key = read_key(load_config(config).tenants)
    expires_at = None if ttl_h is None else time.time() + ttl_h * HOUR_S
    sys.stdout.write(key.token(subject, scope or ["read", "publish", "cancel"], expires_at) + "\n")
