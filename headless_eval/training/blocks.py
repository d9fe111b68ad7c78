"""Demonstrations on disk: files of a few episodes each, collected in parallel, so that an interruption loses little."""

import multiprocessing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.numpy import save_file

from headless_eval.shared.files import replaced
from headless_eval.sims import gl


@dataclass(frozen=True)
class Block:
    """The demonstrations of one scene that one file holds.

    The file holds, for N observations: ``exterior`` uint8 (N, size, size, 3); ``wrist``, the same, where the robot has
    such a camera; ``state`` float32 (N, 8) as the robot's contract has it; ``actions`` float32 (N, horizon, action
    dimensions) as the simulator executes them; ``valid`` bool (N, horizon); ``scene`` int64 (N,), counted from 1.
    """

    scene: int
    first: int
    count: int
    seed: int
    horizon: int
    image_size: int

    def path(self, folder: Path) -> Path:
        """Return the file of this block."""
        return folder / f"scene_{self.scene}_{self.first:06d}_{self.count}.safetensors"


def collect_blocks(
    folder: Path, blocks: Sequence[Block], collector: str, workers: int, opengl: bool = True
) -> list[Path]:
    """Collect the blocks that are not on disk, in parallel processes; return the files of all blocks.

    Args:
        folder: holds the blocks' files; made where it is missing.
        blocks: the blocks wanted.
        collector: as ``module:function``, of which ``function((block, folder))`` writes a block and returns its number
            of episodes; by default ``collect_block``. Imported only where a block is missing, as it needs a simulator.
        workers: the largest number of processes.
        opengl: whether the collector needs OpenGL.

    Raises:
        UserError: a block is missing, and OpenGL, which is needed to collect it, is not available.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [block for block in blocks if not block.path(folder).exists()]
    if missing and opengl:
        gl.load_mujoco()
    columns = (TextColumn("demonstrations"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        bar = progress.add_task("", total=sum(block.count for block in blocks))
        progress.advance(bar, sum(block.count for block in blocks) - sum(block.count for block in missing))
        if missing:
            module, _, function = collector.partition(":")
            work = getattr(import_module(module), function or "collect_block")
            # Spawned, not forked: a GL context does not survive a fork.
            context = multiprocessing.get_context("spawn")
            with context.Pool(min(workers, len(missing))) as pool:
                for count in pool.imap_unordered(work, [(block, folder) for block in missing]):
                    progress.advance(bar, count)
    return [block.path(folder) for block in blocks]


def write_block(block: Block, folder: Path, rows: Sequence[Mapping[str, np.ndarray]]) -> int:
    """Write a block's observations to its file, whole or not at all; return the block's number of episodes."""
    arrays = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    with replaced(block.path(folder)) as file:
        save_file(arrays, file)
    return block.count


def label(actions: Sequence[np.ndarray], own: Sequence[bool], horizon: int) -> dict[str, np.ndarray]:
    """Return an observation's action chunk and which entries of the chunk are valid.

    Args:
        actions: the expert's actions from the observation on, up to ``horizon`` of them.
        own: whether the action executed at each of these steps was the expert's.
        horizon: length of the chunk; its end is filled with the last action, which is not valid there.
    """
    chunk = np.stack([*actions, *[actions[-1]] * (horizon - len(actions))]).astype(np.float32)
    before = np.concatenate([[True], np.cumprod(own).astype(bool)[:-1]])
    valid = np.zeros(horizon, bool)
    valid[: len(before)] = before
    return {"actions": chunk, "valid": valid}
