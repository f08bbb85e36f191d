"""The bytes of every format for every recording, as digests in golden.json; `python -m tests.gateway.golden` writes it.

Of the recordings of `SHOWN` the bytes themselves lie beside it, to be looked at. A change of either is a change of what
clients get.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tests.gateway.said import FORMS, RECORDED, frames_of_all, messages_of

FOLDER = Path(__file__).parent / "golden"
DIGESTS = FOLDER / "golden.json"
SHOWN = ("openai-tool-2",)


def bytes_of(file: Path, name: str) -> bytes:
    """Return a recording in a format."""
    form = FORMS[name]()
    opening: bytes = form.opening
    return opening + b"".join(frame.data for frame in frames_of_all(form, messages_of(file)))


def digests() -> dict[str, dict[str, str]]:
    """Return the digest of each recording in each format."""
    return {file.stem: {name: hashlib.sha256(bytes_of(file, name)).hexdigest() for name in FORMS} for file in RECORDED}


def main() -> None:
    """Write everything anew."""
    FOLDER.mkdir(exist_ok=True)
    DIGESTS.write_text(json.dumps(digests(), indent=1) + "\n", encoding="utf-8")
    for file in RECORDED:
        for name in FORMS:
            if file.stem in SHOWN:
                (FOLDER / f"{file.stem}.{name}.txt").write_bytes(bytes_of(file, name))


if __name__ == "__main__":
    main()
