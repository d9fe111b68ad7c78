"""The command sensitivity."""
