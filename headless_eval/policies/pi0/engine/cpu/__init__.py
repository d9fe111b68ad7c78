"""The compiled engine for CPUs, in C."""
