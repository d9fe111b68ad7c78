"""Integers of 2 to 8 bits, signed and symmetric around zero, and weights packed into them."""

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

_NIBBLE = 4
_SMALLEST = 1e-38  # the scale of values that are all zero
_CLIPPING = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.5, 0.4)


def levels(bits: int) -> int:
    """Return the largest integer of this many bits: 7 for 4."""
    return 2 ** (bits - 1) - 1


def scale_for(largest: Tensor, bits: int) -> Tensor:
    """Return the step for which the largest integer of this many bits stands for ``largest``."""
    # By a tensor: CUDA divides by a number as a product with its reciprocal, which rounds otherwise.
    return (largest / torch.full_like(largest, levels(bits))).clamp_(min=_SMALLEST)


def round_tokens(x: Tensor, bits: int, largest: Tensor | None = None) -> Tensor:
    """Round every token, a row along the last axis, with a scale of its own; without host synchronisation.

    Args:
        x: float32 (..., features).
        bits: 2 to 8.
        largest: what a token's scale reaches at most, float32 (); values beyond are clipped.
    """
    most = x.abs().amax(dim=-1, keepdim=True)
    if largest is not None:
        most = torch.minimum(most, largest)
    scale = scale_for(most, bits)
    return (x / scale).round_().clamp_(-levels(bits), levels(bits)).mul_(scale)


@dataclass(frozen=True)
class PackedWeight:
    """A weight (out, in) as integers: two to a byte up to 4 bits, else one; the lower half of a byte comes first.

    Args:
        codes: uint8 (out, ceil(padded / 2)), 8 added to each, or int8 (out, padded).
        scales: float32 (out, groups): the value of one step.
        columns: in.
        group: columns that share a scale; padded up to whole groups.
        bits: 2 to 8.
    """

    codes: Tensor
    scales: Tensor
    columns: int
    group: int
    bits: int

    @classmethod
    def round(cls, weight: Tensor, bits: int, group: int | None = None, clip: bool = False) -> Self:
        """Round a weight to the nearest steps.

        Args:
            weight: float32 (out, in).
            bits: 2 to 8.
            group: how many weights of a row share a scale, one after another; None: all.
            clip: try scales that let the largest weights saturate, and take the one with the least squared error;
                else the largest weight is the largest integer.
        """
        rows, columns = weight.shape
        group = min(group or columns, columns)
        groups = -(-columns // group)
        values = F.pad(weight, (0, groups * group - columns)).reshape(rows, groups, group)
        largest = values.abs().amax(dim=-1, keepdim=True)
        scales = scale_for(largest, bits)
        if clip:
            least = torch.full_like(scales, torch.inf)
            best = scales
            for ratio in _CLIPPING:
                tried = scale_for(largest * ratio, bits)
                error = (_steps(values, tried, bits) * tried - values).square().sum(dim=-1, keepdim=True)
                best = torch.where(error < least, tried, best)
                least = torch.minimum(error, least)
            scales = best
        codes = _steps(values, scales, bits).reshape(rows, -1).to(torch.int8)
        return cls(_pack(codes) if bits <= _NIBBLE else codes, scales.squeeze(-1), columns, group, bits)

    def unpack(self) -> Tensor:
        """Return the weight, float32 (out, in): every integer times its step, to the last bit."""
        codes = self.codes
        if self.bits <= _NIBBLE:
            codes = torch.stack([codes & 15, codes >> 4], dim=-1).flatten(1).to(torch.int8) - 8
        width = self.scales.shape[1] * self.group
        values = codes[:, :width].to(torch.float32).unflatten(1, (-1, self.group)) * self.scales[..., None]
        return values.flatten(1)[:, : self.columns]

    @property
    def nbytes(self) -> int:
        """Its size in bytes, scales included."""
        return self.codes.nbytes + self.scales.nbytes


def _steps(values: Tensor, scales: Tensor, bits: int) -> Tensor:
    return (values / scales).round_().clamp_(-levels(bits), levels(bits))


def _pack(codes: Tensor) -> Tensor:
    shifted = (F.pad(codes, (0, codes.shape[1] % 2)) + 8).to(torch.uint8)
    return shifted[:, 0::2] | (shifted[:, 1::2] << 4)
