"""Conformance tests of policies, suites, robots and methods, for their authors."""
