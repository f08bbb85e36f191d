"""The command line: `stream-router`. Each command is one file in `commands/`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line. An interrupt while it is still being loaded, which takes a second, ends it as any other."""
    try:
        from router.cli.app import main as run  # noqa: PLC0415  # see above
    except KeyboardInterrupt:
        sys.stderr.write("stream-router: interrupted\n")
        sys.exit(130)
    run()
