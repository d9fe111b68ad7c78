"""Simulators: suites of tasks that a policy is evaluated in. Importing them changes nothing in the process."""
