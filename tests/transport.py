"""What carries the calls between processes while the tests run: `TEST_TRANSPORT`, by default what users get by default.

`TEST_TRANSPORT=ray make test` runs everything as where no sockets are to be had.
"""

from __future__ import annotations

import os

from router.config import RouterConfig

TRANSPORT = os.environ.get("TEST_TRANSPORT", RouterConfig().transport)


def take_over() -> None:
    """Make it the default of each configuration that this process makes; its actors are told theirs."""
    if RouterConfig.model_fields["transport"].default != TRANSPORT:
        RouterConfig.model_fields["transport"].default = TRANSPORT
        RouterConfig.model_rebuild(force=True)
