"""Load tests: a workload in YAML, streams through a router, faults on demand, figures and a report.

Pure:

    workload.py         what is wanted, validated
    distributions.py, arrivals.py, plan.py, synthetic.py
                        which stream starts when, and what it is; from the seed
    fault_schedule.py   which fault is done when; from the seed
    measurements.py     histograms and time lines of fixed size
    verify.py           what a reader got, against an independent reading of the recording
    figure_names.py, results.py, comparison.py, report.py, plots.py
                        the figures, and what is written of them

Shells:

    runner.py           a load test from start to end
    infrastructure.py   the cluster, the router and the providers that it runs on
    generators.py       starts and calls the load generators, which are Ray actors:
    publishing_actor.py, reading_actor.py
                        publishers and readers; stream_events.py is what the first tell the second
    gateways.py, sse_reader.py
                        readers that come over HTTP, and the gateways by which they do
    memory_source.py    recordings played inside a publishing actor, without HTTP
    fault_injector.py   does the faults
    processes.py        measures CPU and memory of processes
    view.py             what a person sees meanwhile
"""
