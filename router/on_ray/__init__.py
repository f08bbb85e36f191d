"""What runs on Ray: the router actor, the actors it starts, the cluster it is on."""
