"""The DROID scenes in Isaac Lab."""
