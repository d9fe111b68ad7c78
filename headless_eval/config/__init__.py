"""The settings of every command: dataclasses whose fields are flags. No torch, no work."""
