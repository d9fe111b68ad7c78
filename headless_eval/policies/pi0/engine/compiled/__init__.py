"""The compiled engine for GPUs."""
