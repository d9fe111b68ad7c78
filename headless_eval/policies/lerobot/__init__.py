"""Policies of LeRobot: ACT, Diffusion, SmolVLA, π0-FAST and what else ``lerobot`` loads, by LeRobot's own code."""
