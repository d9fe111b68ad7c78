"""Training data on the device: demonstrations, their normalisation statistics, augmentation of pictures."""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

_ARM, _DIMS = 7, 8

# Strong enough that the policy cannot lean on one renderer's exact colours or one camera's exact pose.
_BRIGHTNESS, _CONTRAST, _CHANNEL_GAIN, _PIXEL_NOISE = 0.15, 0.2, 0.08, 0.01
_SHIFT, _ZOOM, _ROLL = 0.015, 0.015, 0.01  # share of the side; share; radians


class Demonstrations:
    """All demonstrations on one device.

    Args:
        paths: the files of ``collect``.
        device: holds all of them in its memory.
        relative: make the arm's actions relative to its joints at the observation; the gripper's stays absolute.

    States have ``_DIMS`` numbers; actions are padded with zeros to the same number.
    """

    def __init__(self, paths: Sequence[Path], device: torch.device, relative: bool = True):
        counts, size, horizon, wrist = [], 0, 0, False
        for path in paths:
            with safe_open(path, framework="pt") as shard:
                count, size, *_ = shard.get_slice("exterior").get_shape()
                wrist = "wrist" in shard.keys()  # noqa: SIM118  (no mapping)
                horizon = shard.get_slice("valid").get_shape()[1]
                counts.append(count)
        total = sum(counts)
        self.exterior = torch.empty(total, size, size, 3, dtype=torch.uint8, device=device)
        self.wrist = torch.empty_like(self.exterior) if wrist else None
        self.state = torch.empty(total, _DIMS, device=device)
        self.valid = torch.empty(total, horizon, dtype=torch.bool, device=device)
        self.actions = torch.zeros(*self.valid.shape, _DIMS, device=device)
        self.scene = torch.empty(total, dtype=torch.int64, device=device)
        start = 0
        for path, count in zip(paths, counts, strict=True):
            rows = slice(start, start + count)
            for key, values in load_file(path).items():
                store = getattr(self, key)[rows]
                store[..., : values.shape[-1]] = values.to(device)
            start = rows.stop
        if relative:
            self.actions[..., :_ARM] -= self.state[:, None, :_ARM]

    def __len__(self) -> int:
        return len(self.scene)

    def norm_stats(self) -> dict[str, dict[str, list[float]]]:
        """Return mean, std, q01 and q99 of states and of valid chunk entries, in the form of ``norm_stats.json``."""
        return {"state": _statistics(self.state), "actions": _statistics(self.actions[self.valid])}

    def pictures(self, rows: Tensor, generator: torch.Generator | None) -> list[Tensor]:
        """Return pictures (B, 3, h, w) in [-1, 1], the exterior camera's and, where there is one, the wrist camera's.

        They are augmented where a generator is given.
        """
        views = []
        for store in (self.exterior, self.wrist):
            if store is None:
                continue
            view = store[rows].permute(0, 3, 1, 2).float() / 127.5 - 1
            views.append(view if generator is None else augment(view, generator))
        return views


def _statistics(values: Tensor) -> dict[str, list[float]]:
    quantiles = []
    for share in (0.01, 0.99):
        # torch.quantile refuses large inputs; the k-th value is exact enough at this size.
        rank = max(1, min(len(values), round(share * len(values))))
        quantiles.append(values.kthvalue(rank, dim=0).values.tolist())
    return {
        "mean": values.mean(dim=0).tolist(),
        "std": values.std(dim=0).tolist(),
        "q01": quantiles[0],
        "q99": quantiles[1],
    }


def augment(view: Tensor, generator: torch.Generator) -> Tensor:
    """Jitter colours and the camera's pose of pictures (B, 3, h, w) in [-1, 1]."""
    batch, device = len(view), view.device

    def draw(extent: float, *shape: int) -> Tensor:
        return (torch.rand(batch, *shape, generator=generator, device=device) * 2 - 1) * extent

    angle, scale, shift = draw(_ROLL), 1 + draw(_ZOOM), draw(2 * _SHIFT, 2)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    affine = torch.stack(
        [torch.stack([cos, -sin, shift[:, 0]], -1), torch.stack([sin, cos, shift[:, 1]], -1)], dim=1
    )
    grid = F.affine_grid(affine, list(view.shape), align_corners=False)
    view = F.grid_sample(view, grid, padding_mode="border", align_corners=False)
    gain = (1 + draw(_CONTRAST, 1, 1, 1)) * (1 + draw(_CHANNEL_GAIN, 3, 1, 1))
    view = view * gain + draw(_BRIGHTNESS, 1, 1, 1)
    noise = torch.randn(view.shape, generator=generator, device=device)
    return (view + _PIXEL_NOISE * noise).clamp(-1, 1)
