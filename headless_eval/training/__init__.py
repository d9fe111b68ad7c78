"""Demonstrations and flow-matching training of the bundled policies."""

import headless_eval.sims  # noqa: F401  chooses the GL backend before any module here imports mujoco
