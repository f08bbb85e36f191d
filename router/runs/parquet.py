"""The messages of a run as one Parquet file: a row a message, beside its request. Written whole or not at all."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from router.archive.rows import message_row
from router.archive.table import COMPRESSION, message_schema, need_archive

ROWS_AT_ONCE = 10_000


def write_parquet(messages: Path, file: Path) -> int:
    """Write the messages of a run's JSONL file as Parquet; return how many. Raises ConfigError, OSError."""
    need_archive()
    import pyarrow as pa  # noqa: PLC0415  # an extra
    import pyarrow.parquet as pq  # noqa: PLC0415  # as above

    hidden = file.with_name(f".{file.name}.tmp")
    schema, count = message_schema(), 0
    try:
        with pq.ParquetWriter(hidden, schema, compression=COMPRESSION) as writer:
            for rows in _in_parts(messages):
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                count += len(rows)
        hidden.replace(file)
    except BaseException:
        with suppress(OSError):
            hidden.unlink()
        raise
    return count


def _in_parts(messages: Path) -> Iterator[list[dict[str, Any]]]:
    with messages.open(encoding="utf-8", errors="replace") as lines:
        rows = (_row(line) for line in lines if line.endswith("\n"))  # else it was cut off, and is asked again
        while part := [*itertools.islice(rows, ROWS_AT_ONCE)]:
            yield part


def _row(line: str) -> dict[str, Any]:
    data = json.loads(line)
    return {"request_id": data.get("run_id"), **message_row(data)}
