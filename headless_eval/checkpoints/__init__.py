"""Bytes on disk to tensors; no model is known here."""
