"""Infrastructure: the typed semester, its plan, and the same four rooms (network, nodes, storage, hub) for every cloud."""
