"""The LIBERO suites, over the real package (``hf-libero``, robosuite)."""
