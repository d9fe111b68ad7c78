"""Demonstrations and flow-matching training of the bundled policies."""
