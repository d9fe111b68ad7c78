"""Simulators: suites of tasks that a policy is evaluated in."""

from headless_eval.sims import gl

# MuJoCo reads the choice when it is imported, and everything here that imports it comes through this package.
gl.choose_backend()
