"""Policies: registry, batching, and one folder per family of policies."""
