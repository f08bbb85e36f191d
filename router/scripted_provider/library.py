"""A folder of recorded streams, each found by its name or by the name of its model."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.errors import RecordingError
from actors.providers.detect import provider_of
from actors.recording_format import as_sse, read_recording
from router.scripted_provider.script import split_events

INDEX = "index.json"
ENDINGS = (".sse", ".jsonl", ".jsonl.gz")
"""Events as the provider sent them, or what `record:` in a configuration has kept."""
APIS = ("openai-chat", "openai-responses", "anthropic-messages", "gemini")


@dataclass(frozen=True)
class Recording:
    """One recorded stream: the body as the provider sent it. `events` joined are `body`."""

    name: str
    api: str
    provider: str
    model: str
    body: bytes = field(repr=False)
    events: tuple[bytes, ...] = field(repr=False)


class Library:
    """The recordings of a folder (`ENDINGS`), described by an `index.json` where there is one.

    The index is a list of objects with `file` and, as far as known, `api`, `provider` and
    `models`. What it does not say is read off the stream's first event.
    """

    def __init__(self, recordings: Iterable[Recording]) -> None:
        self.recordings: dict[str, Recording] = {recording.name: recording for recording in recordings}
        self._by_model: dict[tuple[str, str], list[Recording]] = {}
        self._by_api: dict[str, list[Recording]] = {}
        for recording in self.recordings.values():
            self._by_model.setdefault((recording.api, recording.model), []).append(recording)
            self._by_api.setdefault(recording.api, []).append(recording)

    @classmethod
    def load(cls, folder: str | Path) -> Library:
        """Read a folder. Raises RecordingError: no such folder, nothing in it, a file that is no recorded stream."""
        root = Path(folder)
        if not root.is_dir():
            raise RecordingError(f"{root}: no such folder of recordings")
        known = _read_index(root / INDEX)
        files = sorted(file for ending in ENDINGS for file in root.glob(f"*{ending}"))
        if not files:
            raise RecordingError(f"{root}: no recordings (files ending in {', '.join(ENDINGS)}) in this folder")
        return cls(_load_one(file, known.get(file.name, {})) for file in files)

    def find(self, name: str) -> Recording:
        """Return the recording of a name (with or without `.sse`). Raises RecordingError, naming the nearest."""
        found = self.recordings.get(name.removesuffix(".sse"))
        if found is None:
            near = difflib.get_close_matches(name, self.recordings, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(self.recordings)}"
            raise RecordingError(f"no recording is named {name!r}; {hint}")
        return found

    def choose(self, api: str, model: str, ordinal: int) -> Recording:
        """Return the recording that answers a request for `model` on the route of `api`.

        A recording's own name wins, then one of that model, then any of the api: those take turns.
        Raises RecordingError where the named one has another api, or none has this one.
        """
        named = self.recordings.get(model.removesuffix(".sse"))
        if named is not None:
            if named.api != api:
                raise RecordingError(f"{named.name} is a recording of {named.api}, this is the route of {api}")
            return named
        of_model = self._by_model.get((api, model)) or self._by_api.get(api)
        if not of_model:
            raise RecordingError(f"none of the {len(self.recordings)} recordings is of {api}")
        return of_model[ordinal % len(of_model)]


def _read_index(file: Path) -> dict[str, dict[str, Any]]:
    if not file.is_file():
        return {}
    try:
        entries = json.loads(file.read_bytes())
        return {entry["file"]: entry for entry in entries}
    except (ValueError, TypeError, KeyError) as error:
        raise RecordingError(f"{file}: expected a list of objects with a key 'file': {error!r}") from None


def _load_one(file: Path, entry: dict[str, Any]) -> Recording:
    body = file.read_bytes()
    name = file.name.removesuffix(".gz").rpartition(".")[0]
    if file.suffix != ".sse":
        try:
            body = as_sse(read_recording(body))
        except RecordingError as error:
            raise RecordingError(f"{file}: {error}") from None
    events = tuple(split_events(body))
    api, model = entry.get("api"), (entry.get("models") or [None])[0]
    for event in events:
        if api is not None and model is not None:
            break
        data = _json_of(event)
        if data is None:
            continue
        api = api or provider_of(data)
        model = model or _model_of(data)
    if api not in APIS:
        raise RecordingError(f"{file}: not a recorded stream: no event of {', '.join(APIS)} in it")
    return Recording(name, api, entry.get("provider") or api, model or name, body, events)


def _model_of(event: dict[str, Any]) -> str | None:
    for holder in (event, event.get("message"), event.get("response")):
        if isinstance(holder, dict):
            model = holder.get("model") or holder.get("modelVersion")
            if isinstance(model, str) and model:
                return model
    return None


def _json_of(event: bytes) -> dict[str, Any] | None:
    data = b"\n".join(line[5:].strip() for line in event.splitlines() if line.startswith(b"data:"))
    try:
        value = json.loads(data)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
