"""Interfaces between the rooms: robots, policies, simulators, variants, seeds. NumPy only."""
