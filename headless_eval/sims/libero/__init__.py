"""The LIBERO suites, simulated by LIBERO's own package (``hf-libero``, robosuite)."""
