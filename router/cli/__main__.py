"""`python -m router.cli` is `stream-router`."""

from router.cli.app import main

main()
