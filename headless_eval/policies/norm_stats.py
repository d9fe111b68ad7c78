"""Normalisation statistics of states and actions, in the format of openpi's ``norm_stats.json``."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headless_eval.errors import UserError
from headless_eval.shared.files import replacing
from headless_eval.shared.untrusted import convert, read_json

_EPSILON = 1e-6


@dataclass(frozen=True)
class NormStats:
    """Statistics of each dimension of states or actions, float64; the quantiles are the 1st and 99th percentile.

    Statistics may be longer than the vectors that they are applied to: openpi's oldest files include the padding.
    ``epsilon`` is added to deviations and ranges, so that no divisor is zero.
    """

    mean: np.ndarray
    std: np.ndarray
    q01: np.ndarray | None = None
    q99: np.ndarray | None = None
    epsilon: float = _EPSILON

    def __len__(self) -> int:
        return len(self.mean)

    def normalize(self, x: np.ndarray, use_quantiles: bool) -> np.ndarray:
        """Map the last dimension to zero mean and unit deviation, or the quantiles to [-1, 1]."""
        dims = x.shape[-1]
        if use_quantiles:
            low, high = self._quantiles()
            return (x - low[:dims]) / (high[:dims] - low[:dims] + self.epsilon) * 2.0 - 1.0
        return (x - self.mean[:dims]) / (self.std[:dims] + self.epsilon)

    def unnormalize(self, x: np.ndarray, use_quantiles: bool) -> np.ndarray:
        """Undo ``normalize``."""
        dims = x.shape[-1]
        if use_quantiles:
            low, high = self._quantiles()
            return (x + 1.0) / 2.0 * (high[:dims] - low[:dims] + self.epsilon) + low[:dims]
        return x * (self.std[:dims] + self.epsilon) + self.mean[:dims]

    def _quantiles(self) -> tuple[np.ndarray, np.ndarray]:
        if self.q01 is None or self.q99 is None:
            raise ValueError("these statistics hold no quantiles")
        return self.q01, self.q99


def make_norm_stats(table: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, NormStats]:
    """Return the statistics of a table ``norm_stats`` (``state`` and ``actions`` with their lists).

    Raises:
        UserError: a key or list is missing, of unequal length, not finite, or not a number.
    """
    return {kind: _make(kind, table.get(kind)) for kind in ("state", "actions")}


def _make(kind: str, lists: Any) -> NormStats:
    if not isinstance(lists, Mapping):
        raise UserError(f"the normalisation statistics hold no {kind!r}: they are not those of this policy")
    arrays: dict[str, np.ndarray] = {}
    for name in ("mean", "std", "q01", "q99"):
        if lists.get(name) is None:
            if name in ("mean", "std"):
                raise UserError(f"the normalisation statistics of {kind} hold no {name!r}")
            continue
        try:
            # Not by NumPy alone, which makes numbers of texts and truth values.
            arrays[name] = np.array(convert(lists[name], list[float]), np.float64)
        except ValueError:
            raise UserError(
                f"the normalisation statistics' {name!r} of {kind} is no list of numbers"
            ) from None
        if not np.isfinite(arrays[name]).all():
            raise UserError(f"the normalisation statistics' {name!r} of {kind} is no list of finite numbers")
    if len({len(array) for array in arrays.values()}) > 1:
        lengths = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
        raise UserError(f"the normalisation statistics of {kind} differ in length: {lengths}")
    epsilon = lists.get("epsilon", _EPSILON)
    if isinstance(epsilon, bool) or not isinstance(epsilon, int | float) or not 0 < epsilon < 1:
        raise UserError(
            f"the normalisation statistics' 'epsilon' of {kind} is {epsilon!r}, not between 0 and 1"
        )
    return NormStats(**arrays, epsilon=float(epsilon))


def plain_norm_stats(dims: Mapping[str, int]) -> dict[str, NormStats]:
    """Return statistics for small numbers, with the given numbers of state and action dimensions."""
    return {kind: NormStats(np.zeros(n), np.ones(n), -np.ones(n), np.ones(n)) for kind, n in dims.items()}


def read_norm_stats(path: Path) -> dict[str, NormStats]:
    """Read ``norm_stats.json``: ``{"norm_stats": {"state": {...}, "actions": {...}}}``.

    Raises:
        UserError: the file is missing or does not hold statistics.
    """
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise UserError(
            f"no normalisation statistics at {path}: without them every action would be wrong; "
            "put the checkpoint's norm_stats.json there"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read normalisation statistics from {path}: {error}") from None
    table = content.get("norm_stats") if isinstance(content, dict) else None
    if not isinstance(table, dict):
        raise UserError(f"{path} holds no 'norm_stats': it is no file of normalisation statistics")
    try:
        return make_norm_stats(table)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def write_norm_stats(path: Path, stats: Mapping[str, NormStats]) -> None:
    """Write statistics in the format of ``read_norm_stats``; missing folders are created."""
    table: dict[str, dict[str, Any]] = {
        kind: {
            name: array.tolist()
            for name, array in (("mean", of.mean), ("std", of.std), ("q01", of.q01), ("q99", of.q99))
            if array is not None
        }
        | ({} if of.epsilon == _EPSILON else {"epsilon": of.epsilon})
        for kind, of in stats.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        json.dump({"norm_stats": table}, file, indent=2)
        file.write("\n")
