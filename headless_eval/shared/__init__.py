"""Helpers for all other packages: files, terminal output, suggestions of names, TOML."""
