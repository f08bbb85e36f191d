"""The folder or object store in which the archive is: whatever fsspec can write to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from actors.errors import ConfigError
from router.archive.plan import FILE_SUFFIX, folder_of, hidden_name
from router.archive.table import need_archive

COLUMNS_OF_A_LOG = ["request_id", "subject", "epoch", "log"]


class Store:
    """An archive's files. `folder`: a path, or an address that fsspec knows (`s3://bucket/agents`)."""

    def __init__(self, folder: str, options: Mapping[str, Any] | None = None) -> None:
        """`options`: fsspec's, for that kind of store. Raises ConfigError."""
        need_archive()
        import fsspec  # noqa: PLC0415  # an extra

        self.filesystem: Any
        self.root: str
        try:
            self.filesystem, self.root = fsspec.core.url_to_fs(folder, **(options or {}))
        except Exception as error:
            raise ConfigError(f"archive.folder {folder!r} cannot be used: {error}") from error

    def write(self, day: str, name: str, data: bytes) -> None:
        """Write a file whole or not at all. Raises whatever the store does."""
        folder = f"{self.root}/{folder_of(day)}"
        hidden, path = f"{folder}/{hidden_name(name)}", f"{folder}/{name}"
        self.filesystem.makedirs(folder, exist_ok=True)
        try:
            with self.filesystem.open(hidden, "wb") as file:
                file.write(data)
                file.flush()
                with suppress(OSError, AttributeError):  # an object store has nothing to wait for
                    os.fsync(file.fileno())
            self.filesystem.mv(hidden, path)
        except BaseException:
            with suppress(Exception):
                self.filesystem.rm(hidden)
            raise

    def days(self) -> list[str]:
        """Return the folders of all days, the newest first."""
        return sorted(self.filesystem.glob(f"{self.root}/{folder_of('*')}"), reverse=True)

    def files(self, day_folder: str) -> list[str]:
        """Return the files of a day."""
        return sorted(self.filesystem.glob(f"{day_folder}/*{FILE_SUFFIX}"))

    def find(self, subject: str | None, request_id: str) -> bytes | None:
        """Return the log of a request; None where the archive does not have it."""
        for day in self.days():
            found = [row for file in self.files(day) for row in self._rows_of(file, subject, request_id)]
            if found:
                log: bytes = max(found, key=lambda row: row["epoch"])["log"]
                return log
        return None

    def _rows_of(self, file: str, subject: str | None, request_id: str) -> Iterator[dict[str, Any]]:
        import pyarrow.parquet as pq  # noqa: PLC0415  # an extra

        with self.filesystem.open(file, "rb") as stream:
            table = pq.read_table(stream, columns=COLUMNS_OF_A_LOG, filters=[("request_id", "==", request_id)])
        yield from (row for row in table.to_pylist() if row["subject"] == subject)
