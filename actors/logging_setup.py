"""What the actors' processes write into Ray's log files, as text or as one JSON object a line."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

LOGGERS = ("actors", "router")
_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
# What every record has by itself; whatever else is on it, the caller put there with `extra`.
_OWN = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and what the caller gave as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update((key, value) for key, value in vars(record).items() if key not in _OWN)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up(level: str, form: str) -> None:
    """Let this process's `actors` and `router` loggers write to stderr, from `level` on, as `text` or `json`.

    For processes that are ours alone (Ray actors). A second call replaces what the first one set up.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else logging.Formatter(_TEXT))
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level.upper())
        logger.propagate = False


def is_telling(count: int) -> bool:
    """Whether the `count`-th time that something happened deserves a line: the first, the second, the fourth, ...

    Whoever sends nonsense ten thousand times a second must not fill a disk with it.
    """
    return count & (count - 1) == 0
