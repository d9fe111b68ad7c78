"""What rooms promise each other: robots, policies, simulators, variants, seeds. NumPy only."""
