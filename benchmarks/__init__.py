"""What the router costs, and what its alternatives cost, measured in one run on one machine.

`python -m benchmarks --json FILE [--quick] [--only NAME]`; `docs/benchmarks.md` explains the figures.
"""
