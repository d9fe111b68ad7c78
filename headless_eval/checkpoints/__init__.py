"""Checkpoints: finding, fetching and reading arrays on disk, whatever model they belong to."""
