"""The vision tower: SigLIP, a transformer over the patches of an image."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headless_eval.policies.paligemma.config import SiglipConfig

_EPSILON = 1e-6


class SiglipAttention(nn.Module):
    """Multi-head self-attention over all patches."""

    def __init__(self, config: SiglipConfig):
        super().__init__()
        self.num_heads = config.num_heads
        self.q_proj = nn.Linear(config.width, config.width)
        self.k_proj = nn.Linear(config.width, config.width)
        self.v_proj = nn.Linear(config.width, config.width)
        self.out_proj = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, N, W) to (B, N, W)."""
        q, k, v = (
            projection(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class SiglipMlp(nn.Module):
    """Two linear layers around a GELU."""

    def __init__(self, config: SiglipConfig):
        super().__init__()
        self.fc1 = nn.Linear(config.width, config.mlp_dim)
        self.act_fn = nn.GELU(approximate="tanh")
        self.fc2 = nn.Linear(config.mlp_dim, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, N, W) to (B, N, W)."""
        return self.fc2(self.act_fn(self.fc1(x)))


class SiglipLayer(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self, config: SiglipConfig):
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.width, eps=_EPSILON)
        self.self_attn = SiglipAttention(config)
        self.layer_norm2 = nn.LayerNorm(config.width, eps=_EPSILON)
        self.mlp = SiglipMlp(config)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, N, W) to (B, N, W)."""
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Siglip(nn.Module):
    """Images to one token a patch, rows first."""

    def __init__(self, config: SiglipConfig):
        super().__init__()
        self.patch_embedding = nn.Conv2d(
            3, config.width, kernel_size=config.patch_size, stride=config.patch_size
        )
        # Left undrawn: the model draws all its weights itself, or reads them.
        positions = torch.empty(config.num_patches, config.width)
        self.position_embedding = nn.Embedding.from_pretrained(positions, freeze=False)
        self.layers = nn.ModuleList(SiglipLayer(config) for _ in range(config.depth))
        self.post_layernorm = nn.LayerNorm(config.width, eps=_EPSILON)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, h, w) in [-1, 1] to tokens (B, patches, width)."""
        x = self.patch_embedding(images).flatten(2).transpose(1, 2)
        # The leading axis of one keeps "one sample" as the first dimension of every module's output.
        positions = torch.arange(x.shape[1], device=x.device)[None]
        x = x + self.position_embedding(positions)
        for layer in self.layers:
            x = layer(x)
        return self.post_layernorm(x)
