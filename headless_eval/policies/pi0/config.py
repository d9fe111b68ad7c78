"""Configurations of π0: the model's sizes, the policy's conventions, and openpi's configurations by name."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from headless_eval.contracts.robots import ROBOTS, VIEWS, Robot
from headless_eval.errors import UserError
from headless_eval.policies.paligemma.config import (
    GEMMA_2B,
    GEMMA_300M,
    SIGLIP_SO400M,
    GemmaConfig,
    SiglipConfig,
    check_sizes,
)
from headless_eval.shared.files import is_inside, replacing
from headless_eval.shared.toml import from_table, to_toml
from headless_eval.shared.untrusted import read_table


@dataclass(frozen=True)
class Pi0Config:
    """Sizes of a model: π0, or π0.5, in which time enters through adaptive norms and the state through the prompt.

    ``discrete_state_input`` puts the state into the prompt as digits. The expert shares the language model's
    attention, so both have the same depth, number of heads and head size.
    """

    pi05: bool
    action_horizon: int
    max_token_len: int
    discrete_state_input: bool
    gemma: GemmaConfig
    expert: GemmaConfig
    siglip: SiglipConfig
    action_dim: int = 32
    num_steps: int = 10
    vocab_size: int = 257_152

    def __post_init__(self) -> None:
        check_sizes(self)
        shared = ("depth", "num_heads", "num_kv_heads", "head_dim")
        unequal = [name for name in shared if getattr(self.gemma, name) != getattr(self.expert, name)]
        if unequal:
            raise ValueError(f"language model and action expert share attention but differ in {unequal}")
        if self.siglip.image_size % self.siglip.patch_size:
            raise ValueError("the image size is no multiple of the patch size")
        if self.expert.width % 2 or self.gemma.head_dim % 2:
            raise ValueError("the expert's width and the head size have to be even (sine-cosine pairs)")


@dataclass(frozen=True)
class PolicyConfig:
    """A model's sizes and the conventions of its robot.

    Args:
        name: the configuration's name.
        model: the model's sizes.
        observation: the name of the policy's robot, one of ``contracts.robots.ROBOTS``.
        use_quantile_norm: normalise by the 1st and 99th percentiles instead of mean and deviation.
        asset_id: the folder under ``assets/`` with the normalisation statistics.
        open_loop_horizon: number of actions of a chunk that are executed before the policy replans.
        action_dims: number of leading action dimensions that are used; the others are padding.
        delta_actions_mask: true for action dimensions predicted relative to the state, to which the policy adds the
            state; None if all dimensions are absolute.
        views: the model's camera views, in order; a view without a camera is masked.
    """

    name: str
    model: Pi0Config
    observation: str
    use_quantile_norm: bool
    asset_id: str
    open_loop_horizon: int
    action_dims: int
    delta_actions_mask: tuple[bool, ...] | None = None
    views: tuple[str, ...] = VIEWS

    @property
    def robot(self) -> Robot:
        """Return the policy's robot."""
        return ROBOTS.find(self.observation)

    def __post_init__(self) -> None:
        if self.observation not in ROBOTS:
            raise ValueError(f"observation is one of {', '.join(ROBOTS)}, not {self.observation!r}")
        if not 0 < self.action_dims <= self.model.action_dim:
            raise ValueError(
                f"action_dims {self.action_dims} is not in 1..action_dim {self.model.action_dim}"
            )
        if not is_inside(self.asset_id):
            raise ValueError(f"asset_id is the name of a folder in assets/, not {self.asset_id!r}")
        if not 0 < self.open_loop_horizon <= self.model.action_horizon:
            raise ValueError(
                f"open_loop_horizon {self.open_loop_horizon} is not in 1..action_horizon "
                f"{self.model.action_horizon}"
            )
        if len(self.delta_actions_mask or ()) > self.action_dims:
            raise ValueError(f"delta_actions_mask is longer than action_dims {self.action_dims}")
        if not self.views or len({*self.views} & {*VIEWS}) < len(self.views):
            raise ValueError(
                f"views are among {', '.join(VIEWS)}, each once, not {', '.join(self.views) or 'none'}"
            )


PI0 = Pi0Config(
    pi05=False,
    action_horizon=50,
    max_token_len=48,
    discrete_state_input=False,
    gemma=GEMMA_2B,
    expert=GEMMA_300M,
    siglip=SIGLIP_SO400M,
)
PI05 = replace(PI0, pi05=True, max_token_len=200, discrete_state_input=True)

PI0_TINY = Pi0Config(
    pi05=False,
    action_horizon=10,
    action_dim=8,
    max_token_len=16,
    discrete_state_input=False,
    gemma=GemmaConfig(width=192, depth=6, mlp_dim=480, num_heads=4, num_kv_heads=1, head_dim=48),
    expert=GemmaConfig(width=160, depth=6, mlp_dim=384, num_heads=4, num_kv_heads=1, head_dim=48),
    siglip=SiglipConfig(width=192, depth=6, mlp_dim=640, num_heads=4, patch_size=12, image_size=96),
    vocab_size=512,
)
# For tasks that are asked for in many ways.
PI0_PRECISE = replace(PI0_TINY, max_token_len=24, vocab_size=1024)


def _policy(name: str, robot: str, model: Pi0Config, asset_id: str, *, relative: bool) -> PolicyConfig:
    of = ROBOTS[robot]
    return PolicyConfig(
        name=name,
        model=model,
        observation=robot,
        use_quantile_norm=model.pi05,
        asset_id=asset_id,
        open_loop_horizon=min(of.open_loop_horizon, model.action_horizon),
        action_dims=of.action_dims,
        delta_actions_mask=of.delta_actions_mask if relative else None,
    )


def _named() -> dict[str, PolicyConfig]:
    libero = "physical-intelligence/libero"
    pi05_libero = replace(PI05, action_horizon=10, discrete_state_input=False)
    pi0_polaris = replace(PI0, action_horizon=10, max_token_len=100)
    pi05_droid = replace(PI05, action_horizon=15)
    tiny = _policy("pi0-droid-tiny", "droid", PI0_TINY, "droid", relative=True)
    precise = _policy("pi0-precise-tiny", "droid", PI0_PRECISE, "droid", relative=True)
    tiny_libero = _policy("pi0-libero-tiny", "libero", PI0_TINY, "libero", relative=False)
    configs = (
        replace(tiny, views=("base_0_rgb", "left_wrist_0_rgb")),
        replace(precise, views=("base_0_rgb", "left_wrist_0_rgb")),
        replace(tiny_libero, views=("base_0_rgb", "left_wrist_0_rgb")),
        # "jointpos": joint positions relative to the state. The plain DROID ones predict joint velocities.
        _policy("pi05_droid_jointpos_polaris", "droid", pi05_droid, "droid", relative=True),
        _policy("pi0_droid_jointpos_polaris", "droid", pi0_polaris, "droid", relative=True),
        _policy("pi05_libero", "libero", pi05_libero, libero, relative=False),
        _policy("pi0_libero", "libero", PI0, libero, relative=True),
        _policy("pi05_droid", "droid", pi05_droid, "droid", relative=False),
        _policy("pi0_droid", "droid", replace(PI0, action_horizon=10), "droid", relative=False),
        _policy("pi05_base", "droid", PI05, "droid", relative=True),
        _policy("pi0_base", "droid", PI0, "droid", relative=True),
    )
    return {config.name: config for config in configs}


CONFIGS = _named()
"""openpi's configurations by openpi's names, and the configurations of the bundled policies."""


def config_from_meta(meta: Mapping[str, Any], name: str = "meta") -> PolicyConfig:
    """Return a configuration from a flat table of sizes, which conversion tools write beside a checkpoint.

    ``kind`` is the robot. ``delta_actions_mask`` is a truth value (true: all dimensions but the gripper are relative to
    the state) or a list of truth values. ``asset_id`` defaults to the robot. Unknown keys are ignored.

    Raises:
        UserError: a key is missing or has the wrong type, or the sizes contradict each other.
    """
    if meta.get("kind") not in ROBOTS:
        raise UserError(f"'kind' is {meta.get('kind')!r}: it is one of {', '.join(ROBOTS)}")
    robot = ROBOTS[meta["kind"]]
    model = {field.name: meta[field.name] for field in fields(Pi0Config) if field.name in meta}
    mask = meta.get("delta_actions_mask") or None
    horizon = meta.get("action_horizon", 1)
    table = {
        "name": name,
        "model": model,
        "observation": meta["kind"],
        "use_quantile_norm": meta.get("use_quantile_norm", meta.get("pi05")),
        "asset_id": meta.get("asset_id", meta["kind"]),
        "open_loop_horizon": meta.get("open_loop_horizon", min(robot.open_loop_horizon, horizon)),
        "action_dims": meta.get("action_dims", robot.action_dims),
    }
    if mask is not None:
        table["delta_actions_mask"] = list(robot.delta_actions_mask) if mask is True else mask
    return from_table(PolicyConfig, table)


def read_config(path: Path) -> PolicyConfig:
    """Read a configuration: TOML in the format of ``write_config``, or JSON with the keys of ``config_from_meta``.

    Raises:
        UserError: the file is missing or malformed; the message names the key.
    """
    try:
        table = read_table(path)
    except FileNotFoundError:
        raise UserError(f"no configuration at {path}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the configuration {path}: {error}") from None
    try:
        if path.suffix == ".json":
            return config_from_meta(table, path.stem)
        return from_table(PolicyConfig, table)
    except UserError as error:
        raise UserError(f"configuration {path}: {error}") from None


def write_config(path: Path, config: PolicyConfig) -> None:
    """Write a configuration as TOML."""
    with replacing(path) as file:
        file.write(to_toml(asdict(config)))
