"""Simulators: suites of tasks that a policy is evaluated in."""
