"""The command line: `stream-router`. Each command is one file in `commands/`."""

from router.cli.app import main

__all__ = ["main"]
