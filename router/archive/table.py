"""Rows of the archive as Parquet. One file has its rows by request ID, in groups that a look-up can step over."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from actors.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_A_GROUP = 64
COMPRESSION = "zstd"
_NEEDED = ("pyarrow", "fsspec")

COLUMNS: dict[str, tuple[str, str]] = {
    "request_id": ("string", "its ID"),
    "subject": ("string", "whose it is, of a service with tenants"),
    "epoch": ("int64", "the incarnation that ended; of two rows with one ID the higher one counts"),
    "agent_id": ("string", "its agent, where `publish` named one"),
    "tags": ("tags", "its tags: a map of names to texts"),
    "metadata": ("string", "its metadata, as JSON"),
    "date": ("string", "what its publisher dates it with; two rows with one ID and one date are one request"),
    "opened_at": ("time", "when it was opened"),
    "ended_at": ("time", "when it ended; its day is the partition"),
    "stop_reason": ("string", "why it ended"),
    "provider_reason": ("string", "the provider's own word for that"),
    "detail": ("string", "what more was said of it"),
    "error": ("string", "the text of its first error message"),
    "text": ("string", "what the assistant said, to the letter"),
    "reasoning": ("string", "what the model thought"),
    "prompt_tokens": ("int64", "as its provider reported"),
    "completion_tokens": ("int64", "as its provider reported"),
    "tool_calls": ("int64", "how many"),
    "last_seq_id": ("int64", "its last message"),
    "dropped_through": ("int64", "the last message that retention had dropped; 0: none"),
    "router": ("string", "the router actor that kept it"),
    "messages": ("messages", "all messages, whole, in order"),
    "log": ("binary", "the log itself, for `result` and `messages`"),
}
"""The columns of the archive: (type, what it is)."""

MESSAGE_FIELDS: dict[str, tuple[str, str]] = {
    "seq_id": ("int64", "of its last piece"),
    "message_type": ("string", "as in `actors.messages`"),
    "id": ("string", "of the message"),
    "date": ("string", "ISO 8601"),
    "name": ("string", "of the agent"),
    "step_id": ("string", "of its step, where its publisher names steps"),
    "text": ("string", "content, reasoning, a tool's return or arguments, an error's text, the stop reason"),
    "tool_name": ("string", "of a tool call"),
    "tool_call_id": ("string", "of a tool call and of its return"),
    "status": ("string", "of a tool's return"),
    "json": ("string", "the whole message"),
}
"""The fields of one message in the column `messages`."""


def need_archive(extra: Iterable[str] = ()) -> None:
    """Raise ConfigError where what the archive needs is not installed."""
    missing = [name for name in (*_NEEDED, *extra) if find_spec(name) is None]
    if missing:
        raise ConfigError(f"the archive needs {' and '.join(missing)}: pip install 'agent-stream-router[archive]'")


def schema() -> pa.Schema:
    """Return the schema of a file."""
    import pyarrow as pa  # noqa: PLC0415  # an extra

    types = _types()
    types["messages"] = pa.list_(pa.struct([(name, types[kind]) for name, (kind, _) in MESSAGE_FIELDS.items()]))
    return pa.schema([(name, types[kind]) for name, (kind, _) in COLUMNS.items()])


def message_schema() -> pa.Schema:
    """Return the schema of a file with a row a message, beside its request."""
    import pyarrow as pa  # noqa: PLC0415  # an extra

    types = _types()
    fields = [(name, types[kind]) for name, (kind, _) in MESSAGE_FIELDS.items()]
    return pa.schema([("request_id", pa.string()), *fields])


def _types() -> dict[str, Any]:
    import pyarrow as pa  # noqa: PLC0415  # an extra

    return {
        "string": pa.string(),
        "int64": pa.int64(),
        "binary": pa.binary(),
        "tags": pa.map_(pa.string(), pa.string()),
        "time": pa.timestamp("ms", tz="UTC"),
    }


def to_parquet(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return rows as one Parquet file."""
    import pyarrow as pa  # noqa: PLC0415  # an extra
    import pyarrow.parquet as pq  # noqa: PLC0415  # as above

    in_order = sorted(rows, key=lambda row: row["request_id"])
    file = io.BytesIO()
    table = pa.Table.from_pylist([dict(row) for row in in_order], schema=schema())
    pq.write_table(table, file, row_group_size=ROWS_A_GROUP, compression=COMPRESSION)
    return file.getvalue()
