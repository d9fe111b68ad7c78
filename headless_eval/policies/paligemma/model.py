"""PaliGemma with its language: a picture and a prompt become text, token by token."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headless_eval.policies.paligemma.config import GemmaConfig, SiglipConfig
from headless_eval.policies.paligemma.gemma import GemmaLayer, KeysValues, RMSNorm, rotation
from headless_eval.policies.paligemma.siglip import Siglip


@dataclass(frozen=True)
class PaliGemmaConfig:
    """The model's sizes.

    Args:
        gemma, siglip: sizes of the language model and the vision tower.
        vocab_size: tokens of the language model.
        tied: whether the head that chooses the next token is the embedding of tokens.
        rope_theta: base of the rotary positions.
    """

    gemma: GemmaConfig
    siglip: SiglipConfig
    vocab_size: int
    tied: bool = True
    rope_theta: float = 10_000.0


class TextModel(nn.Module):
    """Gemma whole: embedding, all layers, and the norm before the head."""

    def __init__(self, config: GemmaConfig, vocab_size: int):
        super().__init__()
        # Left undrawn: the weights are read.
        rows = torch.empty(vocab_size, config.width)
        self.embed_tokens = nn.Embedding.from_pretrained(rows, freeze=False)
        self.layers = nn.ModuleList(GemmaLayer(config) for _ in range(config.depth))
        self.norm = RMSNorm(config.width)


class PaliGemma(nn.Module):
    """The model; modules have the names that they have in a policy's model, where a policy has them.

    Picture and prompt attend to each other in both directions; every new token attends to all before it.
    """

    def __init__(self, config: PaliGemmaConfig):
        super().__init__()
        self.config = config
        self.vision = Siglip(config.siglip)
        self.image_projector = nn.Linear(config.siglip.width, config.gemma.width)
        self.language = TextModel(config.gemma, config.vocab_size)
        if not config.tied:
            self.lm_head = nn.Linear(config.gemma.width, config.vocab_size, bias=False)

    @property
    def device(self) -> torch.device:
        """Return the device of the weights."""
        return self.image_projector.weight.device

    def embed(self, image: Tensor, tokens: Tensor) -> Tensor:
        """Return what the first layer reads (1, patches + tokens, width) of a picture and a prompt."""
        seen = self.image_projector(self.vision(image.to(self.image_projector.weight.dtype)))
        return torch.cat([seen, self._words(tokens)], dim=1)

    def _words(self, tokens: Tensor) -> Tensor:
        return self.language.embed_tokens(tokens) * math.sqrt(self.config.gemma.width)

    def read(self, x: Tensor, before: Sequence[KeysValues] | None = None) -> tuple[Tensor, list[KeysValues]]:
        """Run embedded tokens (1, L, width) through all layers, after those whose keys and values are given.

        Returns:
            the tokens after the last norm, and the keys and values of all tokens so far.
        """
        first = 0 if before is None else before[0].keys.shape[2]
        positions = torch.arange(first + 1, first + x.shape[1] + 1, device=x.device)[None]
        by = rotation(positions, self.config.gemma.head_dim, self.config.rope_theta)
        stored = []
        for index, layer in enumerate(self.language.layers):
            earlier = None if before is None else before[index]
            x, own = layer(x, by, None, earlier)
            if earlier is not None:
                own = KeysValues(
                    torch.cat([earlier.keys, own.keys], 2), torch.cat([earlier.values, own.values], 2)
                )
            stored.append(own)
        return self.language.norm(x), stored

    def logits(self, x: Tensor) -> Tensor:
        """Return float32 logits (1, L, vocabulary) of the tokens that follow."""
        head = self.language.embed_tokens.weight if self.config.tied else self.lm_head.weight
        return F.linear(x, head).float()

    @torch.inference_mode()
    def generate(self, image: Tensor, tokens: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield the likeliest next token and its logits (vocabulary,), again and again.

        Args:
            image: (1, 3, h, w) in [-1, 1].
            tokens: int64 (1, L) of the prompt, its beginning and its line break included.
        """
        x, stored = self.read(self.embed(image.to(self.device), tokens.to(self.device)))
        while True:
            logits = self.logits(x[:, -1:])[0, 0]
            token = int(logits.argmax())
            yield token, logits
            x, stored = self.read(self._words(torch.tensor([[token]], device=self.device)), stored)
