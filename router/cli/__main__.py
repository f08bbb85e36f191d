"""`python -m router.cli` is `stream-router`."""

from router.cli import main

main()
