"""The sizes of an open-pi-zero model, what surrounds it as a policy, and the configurations known by name."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from headless_eval.contracts.robots import ROBOTS, Robot
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
from headless_eval.shared.toml import from_table, read_toml, to_toml

FAMILY = "open-pi-zero"
KNOWN_ROBOTS = ("widowx", "google_robot")
SAMPLERS = ("uniform", "beta")


@dataclass(frozen=True)
class OpenPiZeroConfig:
    """The model's sizes, and the constants that no checkpoint holds.

    Args:
        gemma, expert, siglip: sizes of the language model, the action expert and the vision tower.
        state_dim: numbers of the state that it reads.
        action_dim: numbers of an action.
        action_horizon: actions of a chunk.
        max_token_len: prompt slots, without those of the picture.
        num_steps: Euler steps of the flow.
        vocab_size: tokens of the language model.
        rope_theta: base of the language model's rotary positions.
        expert_rope_theta: base of the expert's; 10000 in the published checkpoints, 100 in those that are trained with
            open-pi-zero's present configurations.
        time_max_period: longest period of the flow time's embedding, over two pi; as ``expert_rope_theta``.
        logit_cap: what the size of an attention logit approaches but never reaches.
        final_clip: what the actions are clipped to at the end of the flow.
    """

    gemma: GemmaConfig
    expert: GemmaConfig
    siglip: SiglipConfig
    state_dim: int
    action_dim: int = 7
    action_horizon: int = 4
    max_token_len: int = 20
    num_steps: int = 10
    vocab_size: int = 257_216
    rope_theta: float = 10_000.0
    expert_rope_theta: float = 10_000.0
    time_max_period: float = 10_000.0
    logit_cap: float = 50.0
    final_clip: float = 1.0

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
    """A model and the conventions of the robot around it.

    Args:
        name: the name the configuration goes by.
        model: the model's sizes.
        observation: the name of the robot that it is for: ``"widowx"`` or ``"google_robot"``.
        asset_id: the folder under ``assets/`` with the normalisation statistics; ``"bridge"`` and ``"fractal"`` are
            those of the published data sets, which come with the package.
        open_loop_horizon: how many actions of a chunk are executed before the policy looks again.
        family: the family of policies that the configuration is of.
    """

    name: str
    model: OpenPiZeroConfig
    observation: str
    asset_id: str
    open_loop_horizon: int
    family: str = FAMILY

    def __post_init__(self) -> None:
        if self.family != FAMILY:
            raise ValueError(f"the configuration is of the family {self.family!r}, not {FAMILY!r}")
        if self.observation not in KNOWN_ROBOTS:
            raise ValueError(f"observation is one of {', '.join(KNOWN_ROBOTS)}, not {self.observation!r}")
        if not is_inside(self.asset_id):
            raise ValueError(f"asset_id is the name of a folder in assets/, not {self.asset_id!r}")
        if not 0 < self.open_loop_horizon <= self.model.action_horizon:
            raise ValueError(
                f"open_loop_horizon {self.open_loop_horizon} is not in 1..action_horizon "
                f"{self.model.action_horizon}"
            )
        wanted = {"state_dim": 7 if self.observation == "widowx" else 8, "action_dim": 7}
        for name, dims in wanted.items():
            if getattr(self.model, name) != dims:
                raise ValueError(
                    f"{name} of {self.observation} is {dims}, not {getattr(self.model, name)}: "
                    "is it the right robot?"
                )

    @property
    def robot(self) -> Robot:
        """Return the robot that it is for."""
        return ROBOTS.find(self.observation)

    @property
    def views(self) -> tuple[str, ...]:
        """Return the camera views that the model is given: one."""
        return ("base_0_rgb",)

    @property
    def use_quantile_norm(self) -> bool:
        """Return True: states and actions are normalised by their quantiles."""
        return True

    @property
    def delta_actions_mask(self) -> None:
        """Return None: no action is relative to the state."""
        return None

    @property
    def action_dims(self) -> int:
        """Return the number of dimensions of an action."""
        return self.model.action_dim


OPEN_PI_ZERO = OpenPiZeroConfig(gemma=GEMMA_2B, expert=GEMMA_300M, siglip=SIGLIP_SO400M, state_dim=7)
TINY = OpenPiZeroConfig(
    gemma=GemmaConfig(width=128, depth=5, mlp_dim=256, num_heads=4, num_kv_heads=1, head_dim=32),
    expert=GemmaConfig(width=128, depth=5, mlp_dim=256, num_heads=4, num_kv_heads=1, head_dim=32),
    siglip=SiglipConfig(width=144, depth=5, mlp_dim=368, num_heads=4, patch_size=16, image_size=128),
    state_dim=7,
    vocab_size=512,
    expert_rope_theta=100.0,
    time_max_period=100.0,
)


def _named() -> dict[str, PolicyConfig]:
    bridge = PolicyConfig("open_pi_zero_bridge", OPEN_PI_ZERO, "widowx", "bridge", open_loop_horizon=4)
    fractal = PolicyConfig(
        "open_pi_zero_fractal", replace(OPEN_PI_ZERO, state_dim=8), "google_robot", "fractal", 2
    )
    tiny = PolicyConfig("open-pi-zero-tiny", TINY, "widowx", "tiny", open_loop_horizon=4)
    tiny_fractal = PolicyConfig(
        "open-pi-zero-tiny-fractal", replace(TINY, state_dim=8), "google_robot", "tiny-fractal", 2
    )
    trained = [
        replace(config, name=f"{config.name}-{sampler}")
        for config in (tiny, tiny_fractal)
        for sampler in SAMPLERS
    ]
    return {config.name: config for config in (bridge, fractal, *trained)}


CONFIGS = _named()
"""The published checkpoints' configurations, and those of the small policies, whose flow time is drawn as they say."""


def read_config(path: Path) -> PolicyConfig:
    """Read a configuration as ``write_config`` writes it.

    Raises:
        UserError: the file is missing or malformed; the message names the key.
    """
    try:
        return from_table(PolicyConfig, read_toml(path))
    except UserError as error:
        raise UserError(f"configuration {path}: {error}") from None


def write_config(path: Path, config: PolicyConfig) -> None:
    """Write a configuration as TOML."""
    with replacing(path) as file:
        file.write(to_toml(asdict(config)))
