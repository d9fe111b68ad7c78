"""open-pi-zero: a re-implementation of π0 with checkpoints for BridgeData and Fractal (allenzren/open-pi-zero)."""
