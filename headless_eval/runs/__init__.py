"""Runs: opened, carried out, continued, calibrated, verified, shown."""
