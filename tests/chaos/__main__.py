"""Kill processes of a real Ray under a load of recorded streams: one kind, or all of them with a table."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from tests.transport import take_over

from .kinds import KINDS
from .report import run_all, table


def main() -> int:
    """Run the command; 1 says that something was lost, or that a kind could not be run to its end."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("kind", nargs="?", choices=sorted(KINDS), help="run this kind once; print its figures as JSON")
    what.add_argument("--all", action="store_true", help="run every kind, one after the other; print a table")
    parser.add_argument("--rounds", type=int, default=3, help="with --all: how often each kind is run (3)")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="with --all: write all figures there")
    given = parser.parse_args()
    take_over()
    if not given.all:
        print(json.dumps(asyncio.run(KINDS[given.kind]())))
        return 0
    result = run_all(list(KINDS), given.rounds)
    if given.json is not None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))
    return 0 if result["whole"] else 1


if __name__ == "__main__":
    sys.exit(main())
