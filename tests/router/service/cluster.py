"""A Ray cluster of two nodes on this machine, in a process of its own: writes its address, ends when stdin does."""

from __future__ import annotations

import sys

from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
cluster.add_node(num_cpus=2)
cluster.wait_for_nodes()
sys.stdout.write(f"{cluster.address}\n")
sys.stdout.flush()
sys.stdin.read()
cluster.shutdown()
