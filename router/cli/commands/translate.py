"""`stream-router translate`: what a recorded stream becomes, without Ray."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from actors.messages import MessagePiece
    from actors.settings import StreamSettings
    from actors.translator import Translator

PANEL = "See it work"
_SHOWN_BYTES_MAX = 300
_ODD_MAX = 100
EXAMPLES = (
    "stream-router translate openai-tool-2 --set dialect=chat --coalesce",
    "curl -sN https://.../chat/completions ... | stream-router translate - --set dialect=chat",
)


def command(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE|-", help="SSE as recorded, or JSONL of chunks; or the name of one that comes along."
        ),
    ],
    settings: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="The stream's settings, as a JSON object.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="One setting (dialect=chat, choices=all, ...); repeatable."),
    ] = None,
    provider: Annotated[
        str | None, typer.Option(help="auto, openai-chat, openai-responses, anthropic-messages or gemini.")
    ] = None,
    run_id: Annotated[str | None, typer.Option(help="The request's ID, else the file's name without ending.")] = None,
    message_id: Annotated[str | None, typer.Option(help="The messages' ID, else one made from the run ID.")] = None,
    message_date: Annotated[str | None, typer.Option(help="Their date (ISO 8601), else 1970-01-01.")] = None,
    name: Annotated[str | None, typer.Option(help="Their name.")] = None,
    coalesce: Annotated[bool, typer.Option("--coalesce", help="Join adjacent pieces of one message.")] = False,
    format_: Annotated[
        Literal["letta", "openai"],
        typer.Option("--format", help="letta: messages. openai: chat-completion chunks made from them."),
    ] = "letta",
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", help="Say on stderr what was seen, and what was not understood, with its event."
        ),
    ] = False,
) -> None:
    """Turn a recorded provider stream into messages, one JSON object a line, as a reader would get them.

    The last lines are the stop reason and the usage.
    """
    from actors.translator import Translator

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends this program in silence, as it ends others
    chunks = _read(file)
    translator = Translator(
        _settings(settings, set_ or [], provider),
        run_id=run_id or ("stdin" if file == "-" else Path(file).stem),
        message_id=message_id,
        message_date=None if message_date is None else _date(message_date),
        name=name,
    )
    odd: list[str] = []
    numbered = _number(_translate(translator, chunks, odd))
    if coalesce:
        numbered = _join(numbered)
    for line in _lines(numbered, format_):
        sys.stdout.write(line + "\n")
    sys.stdout.flush()
    if verbose:
        _describe(translator, len(chunks), odd)


Numbered = Iterator[tuple[int, "MessagePiece"]]


def _read(file: str) -> list[bytes]:
    from actors.errors import RecordingError
    from actors.recording_format import read_recording
    from router.sources.recorded import recording_file, why_unreadable

    path = recording_file(file)
    try:
        data = sys.stdin.buffer.read() if file == "-" else path.read_bytes()
    except OSError as error:
        raise RecordingError(why_unreadable(path, error)) from None
    try:
        return read_recording(data)
    except RecordingError as error:
        raise RecordingError(f"{file}: {error}") from None


def _date(text: str) -> str:
    from actors.errors import SettingsError
    from actors.messages import iso_seconds

    try:
        return iso_seconds(datetime.fromisoformat(text))
    except ValueError:
        raise SettingsError(f"--message-date {text}: not a date; one looks like 2025-05-01T12:00:00+00:00") from None


def _settings(file: Path | None, pairs: list[str], provider: str | None) -> StreamSettings:
    from actors.errors import SettingsError
    from actors.settings import StreamSettings
    from router.cli.options import parse_sets

    values: Any = {}
    if file is not None:
        try:
            values = json.loads(file.read_bytes())
        except OSError as error:
            raise SettingsError(f"{file}: cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise SettingsError(f"{file}: not JSON: {error}") from None
        if not isinstance(values, dict):
            raise SettingsError(f"{file}: expected a JSON object, got {type(values).__name__}")
    values.update(parse_sets(pairs))
    if provider is not None:
        values["provider"] = provider
    return StreamSettings.load(values)


def _translate(translator: Translator, chunks: Iterable[bytes], odd: list[str]) -> Iterator[MessagePiece]:
    """Yield all pieces; put a line into `odd` for each event in which something was not understood."""
    known: dict[str, int] = {}
    for number, chunk in enumerate(chunks, 1):
        yield from translator.chunk(chunk)
        known = _note_odd(translator, known, f"event {number}", chunk, odd)
    yield from translator.end()
    _note_odd(translator, known, "at the end", b"", odd)


def _note_odd(
    translator: Translator, known: dict[str, int], where: str, chunk: bytes, odd: list[str]
) -> dict[str, int]:
    interface = translator.interface
    counts = {f"not understood: {what}": count for what, count in interface.unknown.items()}
    counts |= {f"warning: {what}": count for what, count in interface.warnings.items()}
    if counts != known:
        new = "; ".join(what for what, count in counts.items() if count != known.get(what))
        shown = chunk[:_SHOWN_BYTES_MAX].decode("utf-8", "replace")
        more = "…" if len(chunk) > _SHOWN_BYTES_MAX else ""
        odd.append(f"{where}: {new}: {shown}{more}" if chunk else f"{where}: {new}")
    return counts


def _number(pieces: Iterator[MessagePiece]) -> Numbered:
    """Give each piece its `seq_id`."""
    return enumerate(pieces, 1)


def _join(numbered: Numbered) -> Numbered:
    """Join adjacent pieces of one message; what is joined bears the `seq_id` of its last piece."""
    from itertools import groupby

    from actors.messages import coalesce

    for _, pieces in groupby(numbered, key=lambda item: id(item[1].head)):
        row = list(pieces)
        for joined in coalesce(piece for _, piece in row):
            yield row[-1][0], joined


def _lines(numbered: Numbered, form: str) -> Iterator[str]:
    from actors.messages import as_dict

    messages = (as_dict(piece.head.fields, piece.text, piece.extra, seq_id) for seq_id, piece in numbered)
    if form == "openai":
        from actors.openai_format import OpenAIFormat

        openai = OpenAIFormat()
        messages = (chunk for message in messages for chunk in openai.feed(message))
    for message in messages:
        yield json.dumps(message, ensure_ascii=False)


def _describe(translator: Translator, chunk_count: int, odd: list[str]) -> None:
    sys.stderr.write(f"{chunk_count} events read\n")
    sys.stderr.writelines(f"{line}\n" for line in odd[:_ODD_MAX])
    if len(odd) > _ODD_MAX:
        sys.stderr.write(f"… and {len(odd) - _ODD_MAX} more events with something that was not understood\n")
    for key, value in translator.describe().items():
        sys.stderr.write(f"{key}: {json.dumps(value, ensure_ascii=False, default=str)}\n")
