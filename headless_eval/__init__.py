"""Evaluate vision-language-action policies in simulation at any numerical precision, in one process."""
