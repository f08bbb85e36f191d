"""Writes what a router hands over into the archive, and finds it there: in a process of its own beside the router.

Plain Python: `router/on_ray/actors.py` makes a Ray actor of it. What it is asked may be asked twice.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from actors.errors import ProtocolViolation
from router.archive.plan import Batch, Ended
from router.archive.rows import name_of, row_of
from router.archive.store import Store
from router.archive.table import to_parquet
from router.config import RouterConfig

log: logging.Logger = logging.getLogger("router.archive")


class Archivist:
    """The archive of one router actor."""

    def __init__(self, config_json: str, shard: int) -> None:
        """Raises ConfigError where what the archive needs is missing, or its folder cannot be used."""
        config = RouterConfig.model_validate_json(config_json)
        self._router = config.router_name(shard)
        self._store = Store(str(config.archive.folder), config.archive.options)

    def write(self, batch: Sequence[Any]) -> int:
        """Write the parts of a `Batch` as one file; return how many rows it has. Raises whatever the store does."""
        day, name, requests = Batch(*batch)
        rows = [row for parts in requests if (row := self._row(Ended(*parts))) is not None]
        if rows:
            self._store.write(day, name, to_parquet(rows))
        return len(rows)

    def _row(self, ended: Ended) -> dict[str, Any] | None:
        try:
            return row_of(ended, self._router)
        except (ProtocolViolation, ValueError, TypeError, KeyError) as error:
            # One log that cannot be read must not keep the others from being written.
            log.error("request %r is not archived, its log cannot be read: %s", name_of(ended.request_id)[1], error)  # noqa: TRY400
            return None

    def find(self, full_name: str) -> bytes | None:
        """Return the log of a request by its full name; None where the archive does not have it."""
        return self._store.find(*name_of(full_name))
