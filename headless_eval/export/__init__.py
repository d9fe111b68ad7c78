"""Runs as tables and data sets."""
