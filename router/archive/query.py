"""SQL over the archive, by DuckDB, in this process.

`requests` has a row a request, each once; `messages` a row a message. What several files say of one request (a router
that has restarted archives again what it still holds) is there once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from actors.errors import ConfigError
from router.archive.plan import FILE_SUFFIX, folder_of
from router.archive.store import Store
from router.archive.table import need_archive

_REQUESTS = """
create view requests as
select * exclude (rank_of_row) from (
    select *, row_number() over (partition by subject, request_id, date order by epoch desc, ended_at desc)
        as rank_of_row
    from read_parquet({files}, hive_partitioning = true, union_by_name = true)
) where rank_of_row = 1
"""
_MESSAGES = """
create view messages as
select request_id, subject, agent_id, day, unnest(messages, recursive := true) from requests
"""


class Answer(NamedTuple):
    """What a query gives."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


def query(sql: str, folder: str, options: Mapping[str, Any] | None = None) -> Answer:
    """Ask the archive in `folder`. Raises ConfigError: an extra is missing, nothing is archived there, wrong SQL."""
    need_archive(["duckdb"])
    import duckdb  # noqa: PLC0415  # an extra

    store = Store(folder, options)
    if not any(store.files(day) for day in store.days()):
        raise ConfigError(f"{folder}: nothing is archived there (yet)")
    connection = duckdb.connect()
    try:
        _show(connection, store)
        found = connection.execute(sql)
        columns = [column[0] for column in found.description or ()]
        return Answer(columns, found.fetchall() if columns else [])
    except duckdb.Error as error:
        raise ConfigError(
            f"the query cannot be answered: {error}; there are the tables requests and messages"
        ) from None
    finally:
        connection.close()


def _show(connection: Any, store: Store) -> None:
    """Make the two tables."""
    protocol = store.filesystem.protocol
    kind = protocol if isinstance(protocol, str) else protocol[0]
    root = store.root
    if kind not in ("file", "local"):
        connection.register_filesystem(store.filesystem)
        root = store.filesystem.unstrip_protocol(root)
    files = f"{root}/{folder_of('*')}/*{FILE_SUFFIX}".replace("'", "''")
    connection.execute(_REQUESTS.format(files=f"'{files}'"))
    connection.execute(_MESSAGES)
