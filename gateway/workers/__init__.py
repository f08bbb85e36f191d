"""Gateways in actors: several that share a port, and on a cluster some on each node.

worker.py    one of them
fleet.py     all of a service: making, replacing and ending them
"""
