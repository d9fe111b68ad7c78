"""Gymnasium environments as suites."""
