"""Policies that users bring: code of a module, of a file, or of an installed package."""
