"""Runs of an evaluation: evaluator, execution, resuming, calibration, verification, progress."""
