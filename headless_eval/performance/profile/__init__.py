"""The command profile."""
