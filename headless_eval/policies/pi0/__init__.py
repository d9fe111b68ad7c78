"""π0 and π0.5: the model, its inputs and outputs, and its checkpoints."""
