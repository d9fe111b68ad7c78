"""Training of ``act-droid-tiny``: an ACT of LeRobot on demonstrations of the suite droid's first scene.

The backbone is a ResNet-18 without pretrained weights, the loss LeRobot's own. The folder is one that LeRobot loads.
The arm's actions are relative to its joints, by LeRobot's processors for relative actions.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from headless_eval.config.train import TrainConfig
from headless_eval.contracts.robots.droid import DROID
from headless_eval.policies.device import check_device
from headless_eval.policies.lerobot.config import FAMILY
from headless_eval.policies.lerobot.package import require
from headless_eval.policies.registry import CONFIG
from headless_eval.policies.stated_features import ACTION, IMAGES, STATE
from headless_eval.policies.trained_on import TrainedOn
from headless_eval.shared.files import replacing
from headless_eval.shared.terminal import new_console
from headless_eval.shared.toml import to_toml
from headless_eval.training.dataset import Demonstrations
from headless_eval.training.sources import DemonstrationSource
from headless_eval.training.trainer import Trainer, claim, train

if TYPE_CHECKING:
    from lerobot.policies.act.modeling_act import ACTPolicy

NAME = "act-droid-tiny"
SOURCE = DemonstrationSource(TrainedOn("droid", ("scene_1",)), 25, "headless_eval.training.demonstrations")
IMAGE_SIZE, HORIZON = 64, 16

_CAMERAS = tuple(IMAGES + camera.key.rpartition("/")[2] for camera in DROID.cameras)
_SIZES = {
    "chunk_size": HORIZON,
    "n_action_steps": DROID.open_loop_horizon,
    "dim_model": 128,
    "n_heads": 4,
    "dim_feedforward": 512,
    "n_encoder_layers": 2,
    "n_decoder_layers": 2,
    "dropout": 0.0,
    "use_vae": False,
    "pretrained_backbone_weights": None,
}
_STATE_NOISE = 0.02  # of a standard deviation
_FIRST_LOOK = 256  # observations that the backbone's frozen normalisation is set by


class ActTrainer(Trainer):
    """Training of an ACT by LeRobot's loss: the mean absolute error of the valid entries of a chunk.

    Args:
        settings: of the training.
        data: demonstrations with relative actions.
    """

    warm_up = 100

    def __init__(self, settings: TrainConfig, data: Demonstrations) -> None:
        torch.manual_seed(settings.seed)
        self.data, self._stats = data, data.norm_stats()
        self._mean, self._std = ({}, {})
        for kind, of in self._stats.items():
            self._mean[kind] = torch.tensor(of["mean"], device=settings.device)
            self._std[kind] = torch.tensor(of["std"], device=settings.device) + 1e-8
        model = new_model(data.exterior.shape[1], data.valid.shape[1])
        rows = torch.randperm(len(data))[:_FIRST_LOOK].to(data.state.device)
        set_norms(model.model.backbone, torch.cat([view.cpu() for view in data.pictures(rows, None)]))
        super().__init__(settings, model.train())
        self.model.to(memory_format=torch.channels_last)

    def draw(self) -> tuple[Any, ...]:
        """Draw observations and the noise of their states; on a GPU, pictures are augmented, too."""
        data, generator = self.data, self.generator
        rows = torch.randint(len(data), (self.settings.batch,), generator=generator, device=self.device)
        state = (data.state[rows] - self._mean["state"]) / self._std["state"]
        state = state + _STATE_NOISE * torch.randn(state.shape, generator=generator, device=self.device)
        actions = (data.actions[rows] - self._mean["actions"]) / self._std["actions"]
        views = data.pictures(rows, generator if self.device.type == "cuda" else None)
        views = [view.contiguous(memory_format=torch.channels_last) for view in views]
        return views, state, actions, data.valid[rows]

    def loss(self, views: list[Tensor], state: Tensor, actions: Tensor, valid: Tensor) -> Tensor:
        """Return LeRobot's loss."""
        batch = dict(zip(_CAMERAS, views, strict=True))
        batch |= {STATE: state, ACTION: actions, "action_is_pad": ~valid}
        with torch.autocast(state.device.type, torch.bfloat16):
            loss: Tensor = self.model(batch)[0]
        return loss

    def export(self, folder: Path) -> None:
        """Write the policy's folder as LeRobot does, with the moving average of the weights."""
        model = new_model(self.data.exterior.shape[1], self.data.valid.shape[1])
        model.load_state_dict(self.averaged())
        folder.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(folder)
        for processor in _processors(model.config, self._stats):
            processor.save_pretrained(folder)
        with replacing(folder / CONFIG) as file:
            file.write(to_toml({"family": FAMILY, "robot": DROID.name}))


def run(settings: TrainConfig) -> Path:
    """Collect demonstrations, train, and return the folder of the finished policy.

    Raises:
        UserError: LeRobot is missing, the device does not exist, the folder holds another training or cannot be
            written, or demonstrations cannot be collected.
    """
    require(f"training {NAME} needs LeRobot's package")
    check_device(settings.device, "--device cpu")
    claim(settings)
    console = new_console()
    episodes = settings.episodes or SOURCE.episodes
    paths = SOURCE.collect(
        settings.results / "demonstrations",
        episodes,
        settings.seed,
        HORIZON,
        IMAGE_SIZE,
        settings.workers,
    )
    data = Demonstrations(paths, torch.device(settings.device))
    console.print(f"{len(data)} observations from {episodes} demonstrations", highlight=False)
    trainer = ActTrainer(settings, data)
    return train(trainer, trainer.export, SOURCE.trained_on, console)


def new_model(image_size: int, horizon: int) -> "ACTPolicy":
    """Return an ACT with random weights, for DROID's robot, on the CPU.

    Args:
        image_size: side of both pictures in pixels.
        horizon: length of the action chunk.
    """
    from lerobot.configs import FeatureType, PolicyFeature
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.act.modeling_act import ACTPolicy

    pictures = {name: PolicyFeature(FeatureType.VISUAL, (3, image_size, image_size)) for name in _CAMERAS}
    sizes: dict[str, Any] = {**_SIZES, "chunk_size": horizon}
    config = ACTConfig(
        input_features={**pictures, STATE: PolicyFeature(FeatureType.STATE, (DROID.state_dims,))},
        output_features={ACTION: PolicyFeature(FeatureType.ACTION, (DROID.action_dims,))},
        device="cpu",
        push_to_hub=False,
        **sizes,
    )
    return ACTPolicy(config)


def set_norms(backbone: nn.Module, pictures: Tensor) -> None:
    """Set the frozen normalisation of a backbone by what its layers give for some pictures.

    LeRobot's backbones are meant for pretrained weights: at random weights the frozen layers normalise nothing, and
    activations grow from layer to layer.

    Args:
        backbone: with ``FrozenBatchNorm2d`` layers.
        pictures: float32 (number, 3, height, width), as the model sees them.
    """
    from torchvision.ops.misc import FrozenBatchNorm2d

    def set_one(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        module.running_mean.copy_(inputs[0].mean((0, 2, 3)))  # type: ignore[operator,union-attr]
        module.running_var.copy_(inputs[0].var((0, 2, 3)))  # type: ignore[operator,union-attr]

    norms = [module for module in backbone.modules() if isinstance(module, FrozenBatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(set_one) for norm in norms]
    with torch.no_grad():
        backbone(pictures)
    for hook in hooks:
        hook.remove()


def _processors(config: Any, stats: dict[str, dict[str, list[float]]]) -> tuple[Any, Any]:
    """Return LeRobot's processors of an ACT, with steps for actions relative to the arm's joints."""
    from lerobot.policies import make_pre_post_processors
    from lerobot.processor import AbsoluteActionsProcessorStep, RelativeActionsProcessorStep

    table: dict[str, dict[str, Any]] = {STATE: dict(stats["state"]), ACTION: dict(stats["actions"])}
    table |= {name: {"mean": [[[0.5]]] * 3, "std": [[[0.5]]] * 3} for name in _CAMERAS}
    before, after = make_pre_post_processors(
        config,
        dataset_stats={
            name: {key: torch.tensor(values) for key, values in of.items()} for name, of in table.items()
        },
    )
    names = [name for group in DROID.actions for name in group.names]
    absolute = [name for group in DROID.actions if not group.relative for name in group.names]
    relative = RelativeActionsProcessorStep(enabled=True, exclude_joints=absolute, action_names=names)
    at = [type(step).__name__ for step in before.steps].index("NormalizerProcessorStep")
    before.steps.insert(at, relative)
    at = [type(step).__name__ for step in after.steps].index("UnnormalizerProcessorStep")
    after.steps.insert(at + 1, AbsoluteActionsProcessorStep(enabled=True, relative_step=relative))
    return before, after
