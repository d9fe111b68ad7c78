"""Changes of basis for the channels of a linear layer, in input and weight alike, so that the product stays the same.

With T the change of basis, x W^T = (x T) (W T^-T)^T. Inputs and weights are rounded in the new basis, which has fewer
outliers. All functions are tensor operations without host synchronisation.
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

_SEED = 0


def divisor(width: int, block: int) -> int:
    """Return the largest divisor of a width up to ``block``: the size of the blocks that the width is cut into."""
    return next(size for size in range(min(block, width), 0, -1) if width % size == 0)


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Multiply every block of the last axis (..., blocks * size) by one matrix (size, size)."""
    return (x.reshape(-1, len(rotation)) @ rotation).reshape(x.shape)


def rotate_blocks(x: Tensor, rotations: Tensor) -> Tensor:
    """Multiply each block of the last axis (..., blocks * size) by its own matrix, of (blocks, size, size)."""
    blocks, size, _ = rotations.shape
    rows = x.reshape(-1, blocks, size).transpose(0, 1)
    return torch.bmm(rows, rotations).transpose(0, 1).reshape(x.shape)


@dataclass(frozen=True)
class Basis:
    """A change of basis of the input channels: divide, rotate in blocks, permute, rotate in blocks; each optional.

    Args:
        divide: float32 (in,).
        first: rotation of every block, float32 (size, size), orthogonal.
        permutation: int64 (in,): the channel that each channel of the new basis comes from.
        second: like ``first``, after the permutation.
    """

    divide: Tensor | None = None
    first: Tensor | None = None
    permutation: Tensor | None = None
    second: Tensor | None = None

    @property
    def changes(self) -> bool:
        """Whether any of the four parts is given."""
        return any(part is not None for part in vars(self).values())

    def of_input(self, x: Tensor) -> Tensor:
        """Return an input (..., in) in this basis."""
        return self._turn(x if self.divide is None else x / self.divide)

    def of_weight(self, weight: Tensor) -> Tensor:
        """Return a weight (out, in) in this basis."""
        return self._turn(weight if self.divide is None else weight * self.divide)

    def weight_back(self, weight: Tensor) -> Tensor:
        """Return a weight (out, in) of this basis in the original one."""
        if self.second is not None:
            weight = rotate(weight, self.second.t())
        if self.permutation is not None:
            weight = weight[:, self.permutation.argsort()]
        if self.first is not None:
            weight = rotate(weight, self.first.t())
        return weight if self.divide is None else weight / self.divide

    def _turn(self, x: Tensor) -> Tensor:
        if self.first is not None:
            x = rotate(x, self.first)
        if self.permutation is not None:
            x = x.index_select(-1, self.permutation)
        return x if self.second is None else rotate(x, self.second)


def smoothing(inputs: Tensor, weights: Tensor, of_inputs: float, of_weights: float) -> Tensor:
    """Return the factors to divide input channels by: max|x|^of_inputs / max|w|^of_weights, 1 where either is zero.

    Args:
        inputs: largest magnitudes of the input channels, (in,).
        weights: largest magnitudes of their weights, (in,).
        of_inputs: exponent of the inputs' magnitudes.
        of_weights: exponent of the weights' magnitudes.
    """
    dead = (inputs == 0) | (weights == 0)
    factors = inputs.pow(of_inputs) / weights.pow(of_weights)
    return torch.where(dead, torch.ones_like(factors), factors)


def search_rotation(x: Tensor, size: int, steps: int) -> Tensor:
    """Search for the rotation of blocks of channels after which the largest magnitude is least: DuQuant's.

    Each step spreads the channel with the largest magnitude evenly over its block, and turns the others at
    random. The best rotation on the way is returned, the identity if no step helps. As in the paper, all blocks
    share one rotation.

    Args:
        x: inputs, float32 (tokens, in).
        size: of the blocks; divides in.
        steps: how many steps to take.

    Returns:
        float32 (size, size), orthogonal.
    """
    now = x.reshape(-1, size)
    spread = _spreading_rotation(size).to(x.device)
    positions = torch.arange(size, device=x.device)
    turned = best = torch.eye(size, dtype=torch.float64, device=x.device)
    peaks = now.abs().amax(dim=0)
    least = peaks.amax()
    for _ in range(steps):
        # The worst channel is swapped with the first, whose row of the rotation is uniform.
        worst = peaks.argmax()
        order = torch.where(positions == worst, 0, positions)
        order = torch.where(positions == 0, worst, order)
        rotation = spread[order][:, order]
        now = now @ rotation.to(now.dtype)
        turned = turned @ rotation
        peaks = now.abs().amax(dim=0)
        best = torch.where(peaks.amax() < least, turned, best)
        least = torch.minimum(peaks.amax(), least)
    return best.to(torch.float32).contiguous()


@cache
def _spreading_rotation(size: int) -> Tensor:
    """Return an orthogonal matrix, float64 (size, size), whose first row is uniform, and the others random."""
    uniform = torch.full((size,), 1 / math.sqrt(size), dtype=torch.float64)
    axis = torch.zeros(size, dtype=torch.float64)
    axis[0] = 1.0
    # The reflection that takes the first axis to the uniform direction.
    normal = axis - uniform
    length = normal.square().sum()
    reflection = torch.eye(size, dtype=torch.float64)
    if length > 0:
        reflection -= 2 * torch.outer(normal, normal) / length
    mixing = torch.eye(size, dtype=torch.float64)
    if size > 1:
        generator = torch.Generator().manual_seed(_SEED)
        drawn = torch.randn(size - 1, size - 1, generator=generator, dtype=torch.float64)
        orthogonal, triangle = torch.linalg.qr(drawn)
        mixing[1:, 1:] = orthogonal * triangle.diagonal().sign()
    return mixing @ reflection


def zigzag(magnitudes: Tensor, size: int) -> Tensor:
    """Return the permutation that deals channels out to blocks, largest first, to and fro: int64 (in,).

    Every block gets one of the largest channels, one of the next largest and so on, so that the blocks' sums are
    about equal.

    Args:
        magnitudes: of the channels, (in,).
        size: of the blocks; divides in.
    """
    order = magnitudes.argsort(descending=True, stable=True).reshape(size, -1)
    order[1::2] = order[1::2].flip(1)
    return order.t().reshape(-1)


def principal_axes(weight: Tensor, size: int) -> Tensor:
    """Return rotations (blocks, size, size) of the output channels into their principal axes, by blocks.

    ``rotate_blocks(weight.t(), axes).t()`` has rows that are orthogonal to each other within a block, so that one
    scale per row fits better.
    """
    rows = weight.reshape(-1, size, weight.shape[1]).to(torch.float64)
    return torch.linalg.eigh(rows @ rows.transpose(1, 2)).eigenvectors.to(torch.float32).contiguous()
