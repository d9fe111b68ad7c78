"""Policies: what finds, batches and holds them; one folder a family."""
