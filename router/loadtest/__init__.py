"""Load tests: a workload in YAML in, streams through a router, faults on demand, figures and a report out.

workload.py     what is wanted, validated                          pure
distributions.py, arrivals.py, plan.py, synthetic.py
which stream starts when, and what it is           pure, from a seed
measurements.py histograms and time lines of fixed size            pure
verify.py       what a reader got against an independent reading   pure
chaos.py        which fault strikes when                           pure, from a seed
publishers.py, readers.py
the load generators, Ray actors                    shells
faults.py, processes.py
faults done, processes measured                    shells
runner.py       all of it together
results.py, report.py, comparison.py, view.py
what is left for people and pipelines
"""
