"""Everything derived from a run's journal: statistics, plots, tables."""
