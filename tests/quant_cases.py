"""Toy models and helpers of the tests of ``headless_eval.quant``."""

import dataclasses

import torch
from torch import nn

from headless_eval.quant import DTYPES, Recorder, quantize_
from headless_eval.quant.handle import Handle
from headless_eval.quant.linears import linears_in_scope
from headless_eval.quant.methods import parse_method
from headless_eval.quant.methods.duquant import DuQuant

LOSSY = [dtype for dtype in DTYPES if dtype != "float32"]
METHOD_NAMES = [
    *("rtn_w4a8", "rtn_w4a16", "rtn_w3a4_g5_clip", "smoothquant_w8a8", "smoothquant_w4a8_alpha0.75"),
    *("duquant_w4a8", "duquant_w4a4_b4_noperm_ls0", "duquant_w8a8_rowrot_pct99", "duquant_w4a16_rowrot_b3"),
]
CALLED = {  # the leaves of ToyModel that its forward calls
    "vision",
    "embed",
    "head",
    *(f"blocks.{i}.{leaf}" for i in range(2) for leaf in ("norm", "up", "act", "down")),
}


def bytes_of(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def same_bits(left, right):
    return (
        left.shape == right.shape
        and left.dtype == right.dtype
        and torch.equal(bytes_of(left), bytes_of(right))
    )


def snapshot(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same_state(model, state):
    now = model.state_dict()
    assert now.keys() == state.keys()
    for name, tensor in state.items():
        assert same_bits(now[name], tensor), name


def relative(now, then):
    return float(((now - then).norm() / then.norm()).detach())


class ToyBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.act = nn.GELU()
        self.down = nn.Linear(2 * width, width, bias=False)

    def forward(self, x):
        return x + self.down(self.act(self.up(self.norm(x))))


class ToyModel(nn.Module):
    """Has an image tower, tied embeddings, a bare parameter, buffers, and a leaf that nobody calls."""

    def __init__(self, width=16, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.vision = nn.Conv2d(3, width, 4, stride=4)
        self.embed = nn.Embedding(32, width)
        self.query = nn.Parameter(torch.randn(1, 1, width))
        self.blocks = nn.ModuleList(ToyBlock(width) for _ in range(2))
        self.head = nn.Linear(width, 32, bias=False)
        self.head.weight = self.embed.weight
        self.unused = nn.Linear(width, width)
        self.register_buffer("offset", torch.randn(width))

    def forward(self, images, tokens):
        patches = self.vision(images).flatten(2).transpose(1, 2)
        x = torch.cat([patches, self.embed(tokens), self.query.expand(len(tokens), 1, -1)], dim=1)
        for block in self.blocks:
            x = block(x + self.offset)
        return self.head(x)


def inputs(batch=1, seed=3):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(batch, 3, 8, 8, generator=generator)
    return images, torch.randint(32, (batch, 5), generator=generator)


class ToyLayer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width, bias=False)

    def forward(self, x):
        return x + self.down(self.up(self.norm(x)).relu())


class ToyStack(nn.Module):
    """Linear layers in a stack and beside it, two that share a weight, and one that nobody calls."""

    def __init__(self, width=24, outliers=1.0):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Linear(6, width)
        self.blocks = nn.ModuleList(ToyLayer(width) for _ in range(2))
        self.blocks.append(nn.Linear(width, width))
        self.blocks.append(nn.Linear(width, width, bias=False))
        self.blocks[3].weight = self.blocks[2].weight
        self.head = nn.Linear(width, 5)
        self.eval().requires_grad_(False)
        for block in self.blocks[:2]:  # the same function, with two channels much larger than the others
            block.norm.weight[[3, width - 7]] *= outliers
            block.up.weight[:, [3, width - 7]] /= outliers

    def forward(self, x):
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def stack_inputs(tokens=40, seed=1):
    return torch.randn(4, tokens, 6, generator=torch.Generator().manual_seed(seed))


def calibration_of(model, x):
    with Recorder(model) as recorder, torch.inference_mode():
        model(x)
    return recorder.calibration(fingerprint="of the toy")


def unrounded(model, name, calibration):
    """Put the model into what a method makes of it, but for the rounding."""
    method = dataclasses.replace(parse_method(name), weight_bits=16, activation_bits=8)
    if isinstance(method, DuQuant):  # how well its rotations are searched for is no matter here
        method = dataclasses.replace(method, steps=2, percentile=100.0)
    with quantize_(model, method, calibration=calibration) as handle:
        chosen = linears_in_scope(model, handle.precision)
        layers = {
            place: dataclasses.replace(layer, inputs=dataclasses.replace(layer.inputs, bits=16))
            for place, layer in handle.layers.items()
        }
    handle = Handle(model, handle.precision)
    handle._install(chosen, layers)
    return handle
