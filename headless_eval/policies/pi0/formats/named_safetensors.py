"""Weights in safetensors files under openpi's names, which openpi, LeRobot and this package write."""

from pathlib import Path

from headless_eval.checkpoints.safetensors_file import SafetensorsFile, find_weights
from headless_eval.checkpoints.stored import Stored
from headless_eval.policies.pi0.formats.names import EMBED_TOKENS, TIED_HEAD, from_openpi


def open_safetensors(folder: Path) -> dict[str, Stored]:
    """Return by our names what safetensors files with openpi's or LeRobot's names hold.

    Raises:
        UserError: a file is missing, truncated or of another kind.
    """
    stored: dict[str, Stored] = {}
    for file in map(SafetensorsFile, find_weights(folder)):
        for name, shape in file.shapes.items():
            stored[from_openpi(name)] = Stored(name, shape, file.source(name))
    if EMBED_TOKENS not in stored and TIED_HEAD in stored:
        stored[EMBED_TOKENS] = stored[TIED_HEAD]
    return stored
