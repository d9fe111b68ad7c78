"""Checkpoint formats of π0 and π0.5."""
