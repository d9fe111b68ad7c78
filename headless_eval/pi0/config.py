"""The sizes of a π0 model, what surrounds it as a policy, and the configurations known by name."""

from dataclasses import dataclass, replace

# Relative joints or poses, absolute gripper.
DROID_DELTA_MASK = (True,) * 7 + (False,)
LIBERO_DELTA_MASK = (True,) * 6 + (False,)


@dataclass(frozen=True)
class SiglipConfig:
    """Sizes of the vision tower; images are square, ``image_size`` pixels a side."""

    width: int
    depth: int
    mlp_dim: int
    num_heads: int
    patch_size: int
    image_size: int

    @property
    def num_patches(self) -> int:
        """Return how many tokens one image becomes."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True)
class GemmaConfig:
    """Sizes of a Gemma transformer, the language model or the action expert."""

    width: int
    depth: int
    mlp_dim: int
    num_heads: int
    num_kv_heads: int
    head_dim: int


@dataclass(frozen=True)
class Pi0Config:
    """The model: π0, or π0.5 where the time enters through adaptive norms and the state through the prompt.

    ``discrete_state_input`` puts the state into the prompt as digits. The expert shares the language model's
    attention, so both agree in depth, heads and head size.
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
        observation: which observation keys and dimensions the policy knows, ``"droid"`` or ``"libero"``.
        use_quantile_norm: normalise by the 1st and 99th percentiles instead of mean and deviation.
        delta_actions_mask: true for action dimensions predicted relative to the state, which the policy adds
            back; None where all are absolute.
        asset_id: the folder under ``assets/`` with the normalisation statistics.
        open_loop_horizon: how many actions of a chunk are executed before the policy looks again.
        action_dims: how many leading action dimensions are real; the rest is padding.
        views: the camera views the model is given, in order; a view without a camera is masked.
    """

    name: str
    model: Pi0Config
    observation: str
    use_quantile_norm: bool
    delta_actions_mask: tuple[bool, ...] | None
    asset_id: str
    open_loop_horizon: int
    action_dims: int
    views: tuple[str, ...] = ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")

    def __post_init__(self) -> None:
        if self.observation not in ("droid", "libero"):
            raise ValueError(f"observation is 'droid' or 'libero', not {self.observation!r}")


GEMMA_2B = GemmaConfig(width=2048, depth=18, mlp_dim=16_384, num_heads=8, num_kv_heads=1, head_dim=256)
GEMMA_300M = GemmaConfig(width=1024, depth=18, mlp_dim=4096, num_heads=8, num_kv_heads=1, head_dim=256)
SIGLIP_SO400M = SiglipConfig(width=1152, depth=27, mlp_dim=4304, num_heads=16, patch_size=14, image_size=224)

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


def _droid(name: str, model: Pi0Config, *, relative: bool) -> PolicyConfig:
    return PolicyConfig(
        name=name,
        model=model,
        observation="droid",
        use_quantile_norm=model.pi05,
        delta_actions_mask=DROID_DELTA_MASK if relative else None,
        asset_id="droid",
        open_loop_horizon=8,
        action_dims=8,
    )


def _libero(name: str, model: Pi0Config, *, relative: bool) -> PolicyConfig:
    return PolicyConfig(
        name=name,
        model=model,
        observation="libero",
        use_quantile_norm=model.pi05,
        delta_actions_mask=LIBERO_DELTA_MASK if relative else None,
        asset_id="physical-intelligence/libero",
        open_loop_horizon=5,
        action_dims=7,
    )


# openpi's configurations by openpi's names, and ours. The "jointpos" checkpoints predict joint positions
# relative to the state; pi0_droid and pi05_droid predict joint velocities.
CONFIGS: dict[str, PolicyConfig] = {
    config.name: config
    for config in (
        replace(_droid("pi0-droid-tiny", PI0_TINY, relative=True), views=("base_0_rgb", "left_wrist_0_rgb")),
        _droid("pi05_droid_jointpos_polaris", replace(PI05, action_horizon=15), relative=True),
        _droid(
            "pi0_droid_jointpos_polaris", replace(PI0, action_horizon=10, max_token_len=100), relative=True
        ),
        _libero("pi05_libero", replace(PI05, action_horizon=10, discrete_state_input=False), relative=False),
        _libero("pi0_libero", PI0, relative=True),
        _droid("pi05_droid", replace(PI05, action_horizon=15), relative=False),
        _droid("pi0_droid", replace(PI0, action_horizon=10), relative=False),
        _droid("pi05_base", PI05, relative=True),
        _droid("pi0_base", PI0, relative=True),
    )
}
