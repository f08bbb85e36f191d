"""A process's connection to each router actor."""
