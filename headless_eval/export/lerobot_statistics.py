"""Statistics of a LeRobot dataset's features: range, mean, deviation, count, and quantiles from version 3.0 on.

Source: ``compute_stats.py`` of LeRobot. Pictures are scaled to [0, 1] and have one value for each colour.
"""

from typing import Any

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}


def statistics(values: np.ndarray, quantiles: bool) -> dict[str, list[Any]]:
    """Return the statistics of a feature's values (frames, dims) or (frames,), for each dimension."""
    rows = values.reshape(len(values), -1)
    exact = rows.astype(np.float64)
    found = {
        "min": rows.min(axis=0).tolist(),
        "max": rows.max(axis=0).tolist(),
        "mean": exact.mean(axis=0).tolist(),
        "std": exact.std(axis=0).tolist(),
        "count": [len(rows)],
    }
    if quantiles:
        found |= {name: np.quantile(exact, share, axis=0).tolist() for name, share in QUANTILES.items()}
    return found


class Pixels:
    """How often each value occurs in each colour of some pictures, from which all statistics follow."""

    def __init__(self) -> None:
        self._counts = np.zeros((3, 256), np.int64)
        self._pictures = 0

    def add(self, picture: np.ndarray) -> None:
        """Count a picture, uint8 (height, width, 3)."""
        for colour in range(3):
            self._counts[colour] += np.bincount(picture[..., colour].ravel(), minlength=256)
        self._pictures += 1

    def include(self, other: "Pixels") -> None:
        """Count the pictures of another."""
        self._counts += other._counts
        self._pictures += other._pictures

    def statistics(self, quantiles: bool) -> dict[str, list[Any]]:
        """Return the statistics, each of shape (3, 1, 1)."""
        values = np.arange(256)
        pixels = self._counts[0].sum()
        mean = (self._counts * values).sum(axis=1) / pixels
        deviation = np.sqrt(np.maximum((self._counts * values**2).sum(axis=1) / pixels - mean**2, 0))
        occurs = self._counts > 0
        found = {
            "min": occurs.argmax(axis=1),
            "max": 255 - occurs[:, ::-1].argmax(axis=1),
            "mean": mean,
            "std": deviation,
        }
        if quantiles:
            shares = self._counts.cumsum(axis=1) / pixels
            found |= {name: (shares >= share).argmax(axis=1) for name, share in QUANTILES.items()}
        shaped = {name: (value / 255).reshape(3, 1, 1).tolist() for name, value in found.items()}
        return shaped | {"count": [self._pictures]}
