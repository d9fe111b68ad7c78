"""The command bench."""
