import numpy as np
import torch

from headless_eval.training.dataset import augment


def test_statistics_and_relative_actions(data):
    stats = data.norm_stats()
    for kind in ("state", "actions"):
        assert all(len(stats[kind][key]) == 8 for key in ("mean", "std", "q01", "q99"))
        assert np.isfinite(stats[kind]["std"]).all()
    assert abs(np.array(stats["actions"]["mean"][:7])).max() < 0.3


def test_augmentation_keeps_the_picture_recognisable(data):
    rows = torch.arange(4)
    plain, _ = data.pictures(rows, None)
    jittered = augment(plain, torch.Generator().manual_seed(0))
    assert jittered.shape == plain.shape
    assert jittered.min() >= -1
    assert jittered.max() <= 1
    assert not torch.equal(jittered, plain)
    together = torch.stack([plain.flatten(), jittered.flatten()])
    assert torch.corrcoef(together)[0, 1] > 0.6
