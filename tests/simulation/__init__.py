"""The product's own code in a simulated world: one seed decides the network, the clock and every fault.

`python -m tests.simulation --seeds N [--seed S] [--plant NAME]`
"""
