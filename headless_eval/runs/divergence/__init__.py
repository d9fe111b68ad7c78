"""Divergence from the baseline on the baseline's own path: measured during a run, or afterwards by a command."""
