"""The DROID scenes in MuJoCo."""
