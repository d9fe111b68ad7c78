"""A robot, a policy with a history, and a quantization method, each found by an entry point."""
