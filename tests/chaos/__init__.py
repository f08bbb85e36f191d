"""Real processes of a real Ray are killed under a steady load of recorded streams whose right answers are known.

`python -m tests.chaos KIND` runs one kind and prints its figures as JSON, `--all` runs all of them and prints
a table; `test_chaos.py` checks that nothing was lost.
"""
