"""What an inference has to compute and to move, counted from a model's sizes; and the time that takes at least.

Counted are matrix products, two operations a multiply-add, as ``torch.utils.flop_counter`` does (attention is two
products). Moved are the weights, once for every time a part of the model runs, and what cannot stay in a cache:
the pictures, and the keys and values between prefix and flow steps.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from headless_eval.performance.components import component_of
from headless_eval.performance.workload import Workload
from headless_eval.policies.paligemma.config import GemmaConfig
from headless_eval.policies.pi0.config import Pi0Config

PREFIX, MODULATION, STEP = "prefix", "modulation", "flow step"
PARTS = (PREFIX, MODULATION, STEP)
"""What an observation needs once; what depends on the flow times alone; one Euler step."""


@dataclass(frozen=True)
class Cost:
    """What one module does itself, without its children, in one run of its part of the model.

    Args:
        module: its name.
        part: one of ``PARTS``.
        flops: operations of matrix products.
        weights: numbers of its parameters that are read.
        values: numbers of its inputs and outputs.
        moved: those of them that no implementation can keep from memory.
    """

    module: str
    part: str
    flops: int
    weights: int
    values: int
    moved: int = 0

    @property
    def component(self) -> str:
        """Return the name of the component that it is in."""
        return component_of(self.module)


@dataclass(frozen=True)
class Speeds:
    """What a chip reaches: operations a second of matrix products, bytes a second of copies."""

    matrix: float
    memory: float

    def least_ms(self, flops: float, size: float) -> float:
        """Return the milliseconds that so many operations and bytes take at least, one beside the other."""
        return 1e3 * max(flops / self.matrix, size / self.memory)


@dataclass(frozen=True)
class Limit:
    """The least time of an inference, in milliseconds: of the prefix, of one flow step, of all."""

    prefix_ms: float
    step_ms: float
    total_ms: float


def limit_of(costs: list[Cost], speeds: Speeds, steps: int, weight_bytes: int, value_bytes: int) -> Limit:
    """Return the roofline's time. What depends on the flow times alone is known before the first observation.

    Args:
        costs: of one workload.
        speeds: of the chip.
        steps: flow steps.
        weight_bytes: what a weight of a matrix product takes in memory.
        value_bytes: what anything else takes.
    """

    def least(part: str) -> float:
        of = [cost for cost in costs if cost.part == part]
        size = sum(weight_bytes * cost.weights + value_bytes * cost.moved for cost in of)
        return speeds.least_ms(sum(cost.flops for cost in of), size)

    prefix, step = least(PREFIX), least(STEP)
    return Limit(prefix, step, prefix + steps * step)


def count(config: Pi0Config, workload: Workload) -> list[Cost]:
    """Return what every module of a model costs on a workload; those that only move values have no row."""
    return [*_prefix(config, workload), *_modulation(config), *_step(config, workload)]


def _linear(module: str, part: str, rows: int, inputs: int, outputs: int, *, bias: bool = False) -> Cost:
    weights = inputs * outputs + bias * outputs
    return Cost(module, part, 2 * rows * inputs * outputs, weights, rows * (inputs + outputs))


def _prefix(config: Pi0Config, workload: Workload) -> Iterator[Cost]:
    vision, gemma = config.siglip, config.gemma
    pictures, width = workload.batch * workload.views, vision.width
    patches = pictures * vision.num_patches
    if pictures:
        pixels = 3 * vision.patch_size**2
        yield Cost(
            "vision.patch_embedding",
            PREFIX,
            2 * patches * pixels * width,
            (pixels + 1) * width,
            patches * (pixels + width),
            moved=patches * pixels,
        )
        for index in range(vision.depth):
            layer = f"vision.layers.{index}"
            for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
                yield _linear(f"{layer}.self_attn.{name}", PREFIX, patches, width, width, bias=True)
            flops = 4 * patches * vision.num_patches * width
            yield Cost(f"{layer}.self_attn", PREFIX, flops, 0, 4 * patches * width)
            yield _linear(f"{layer}.mlp.fc1", PREFIX, patches, width, vision.mlp_dim, bias=True)
            yield _linear(f"{layer}.mlp.fc2", PREFIX, patches, vision.mlp_dim, width, bias=True)
        yield _linear("image_projector", PREFIX, patches, width, gemma.width, bias=True)
    words = workload.batch * workload.slots(config)
    yield Cost("language.embed_tokens", PREFIX, 0, words * gemma.width, words * gemma.width)
    tokens = workload.prefix_tokens(config)
    kept = 2 * workload.batch * tokens * gemma.num_kv_heads * gemma.head_dim
    for index in range(gemma.depth):
        layer = f"language.layers.{index}"
        if index < gemma.depth - 1:
            yield from _gemma_layer(layer, PREFIX, gemma, workload.batch, tokens, tokens, kept)
            continue
        size = gemma.num_kv_heads * gemma.head_dim
        for name in ("k_proj", "v_proj"):
            yield _linear(f"{layer}.self_attn.{name}", PREFIX, workload.batch * tokens, gemma.width, size)
        yield Cost(f"{layer}.self_attn", PREFIX, 0, 0, kept, moved=kept)
    if not config.pi05:  # its token is the same in every flow step
        yield _linear("state_proj", PREFIX, workload.batch, config.action_dim, config.expert.width, bias=True)


def _gemma_layer(
    layer: str, part: str, config: GemmaConfig, batch: int, tokens: int, seen: int, moved: int
) -> Iterator[Cost]:
    rows, width = batch * tokens, config.width
    queries, stored = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    yield _linear(f"{layer}.self_attn.q_proj", part, rows, width, queries)
    yield _linear(f"{layer}.self_attn.k_proj", part, rows, width, stored)
    yield _linear(f"{layer}.self_attn.v_proj", part, rows, width, stored)
    flops, values = 4 * rows * seen * queries, 2 * rows * queries + 2 * batch * seen * stored
    yield Cost(f"{layer}.self_attn", part, flops, 0, values, moved)
    yield _linear(f"{layer}.self_attn.o_proj", part, rows, queries, width)
    yield _linear(f"{layer}.mlp.gate_proj", part, rows, width, config.mlp_dim)
    yield _linear(f"{layer}.mlp.up_proj", part, rows, width, config.mlp_dim)
    yield _linear(f"{layer}.mlp.down_proj", part, rows, config.mlp_dim, width)


def _modulation(config: Pi0Config) -> Iterator[Cost]:
    """The flow times of all steps as one batch, whatever the number of samples."""
    if not config.pi05:
        return
    steps, width = config.num_steps, config.expert.width
    for name in ("time_mlp_in", "time_mlp_out"):
        yield _linear(name, MODULATION, steps, width, width, bias=True)
    norms = [
        f"expert.layers.{index}.{norm}"
        for index in range(config.expert.depth)
        for norm in ("input_layernorm", "post_attention_layernorm")
    ]
    for norm in [*norms, "expert.norm"]:
        yield _linear(f"{norm}.dense", MODULATION, steps, width, 3 * width, bias=True)


def _step(config: Pi0Config, workload: Workload) -> Iterator[Cost]:
    expert, batch = config.expert, workload.batch
    actions = batch * config.action_horizon
    tokens = config.action_horizon + (not config.pi05)
    before = workload.prefix_tokens(config)
    yield _linear("action_in_proj", STEP, actions, config.action_dim, expert.width, bias=True)
    if not config.pi05:
        yield _linear("action_time_mlp_in", STEP, actions, 2 * expert.width, expert.width, bias=True)
        yield _linear("action_time_mlp_out", STEP, actions, expert.width, expert.width, bias=True)
    kept = 2 * batch * before * expert.num_kv_heads * expert.head_dim
    for index in range(expert.depth):
        layer = f"expert.layers.{index}"
        yield from _gemma_layer(layer, STEP, expert, batch, tokens, before + tokens, kept)
    yield _linear("action_out_proj", STEP, actions, expert.width, config.action_dim, bias=True)
