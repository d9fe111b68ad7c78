"""The DROID scenes: a Franka Panda that puts things into containers."""
