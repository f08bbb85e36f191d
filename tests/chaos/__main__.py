"""Run one kind of kill, or be one of the processes that are killed."""

from __future__ import annotations

import asyncio
import json
import sys

from .kinds import KINDS, driver_child, publish_child, read_child


def main() -> int:
    match sys.argv[1:]:
        case ["--publish", address, *request_ids]:
            asyncio.run(publish_child(address, request_ids))
        case ["--read", address, request_id, file]:
            asyncio.run(read_child(address, request_id, file))
        case ["--driver", address]:
            asyncio.run(driver_child(address))
        case [kind] if kind in KINDS:
            print(json.dumps(asyncio.run(KINDS[kind]()), default=str))
        case _:
            print(f"usage: python -m tests.chaos {{{','.join(KINDS)}}}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
