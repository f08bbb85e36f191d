"""Real Ray, real kills, under a steady load of recorded streams whose right answers are known.

`python -m tests.chaos KIND` runs one kind and prints its figures as JSON; `test_chaos.py` runs them all.
"""
