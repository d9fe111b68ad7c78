"""A robot, a policy with a history, a suite, and a quantization method, each found by an entry point."""
