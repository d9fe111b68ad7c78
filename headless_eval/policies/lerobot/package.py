"""LeRobot's package: importing it, loading a policy with its processors, and no download meanwhile."""

import inspect
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from headless_eval.errors import UserError
from headless_eval.policies.lerobot.config import (
    POSTPROCESSOR,
    PREPROCESSOR,
    LeRobotConfig,
    read_processor,
)
from headless_eval.policies.lerobot.hub import missing_repositories, refuse_code
from headless_eval.shared.program import command, install

WEIGHTS = "model.safetensors"
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
_CHANGED = {
    # Weights come from the folder alone.
    "pretrained_backbone_weights": None,
    "load_vlm_weights": False,
    # A reply that is no action decodes to zeros and fails; it does not break off the episodes beside it.
    "validate_action_token_prefix": False,
}
_NEEDS = {
    "diffusion": "diffusion",
    "multi_task_dit": "multi-task-dit",
    "pi0_fast": "pi",
    "pi0": "pi",
    "pi05": "pi",
}


class Loaded(NamedTuple):
    """A policy of LeRobot with its processors.

    Args:
        module: LeRobot's ``PreTrainedPolicy``, in evaluation mode.
        preprocess: what its input goes through.
        postprocess: what its output goes through; the result is on the CPU.
        version: of LeRobot.
    """

    module: nn.Module
    preprocess: Any
    postprocess: Any
    version: str


def load(config: LeRobotConfig, device: str, flow_steps: int | None = None) -> Loaded:
    """Load a policy and its processors by LeRobot's own code; nothing is downloaded.

    Args:
        config: what the folder states.
        device: as torch names it.
        flow_steps: steps of flow matching or diffusion; None: as stated.

    Raises:
        UserError: LeRobot or a library that the type needs is missing, LeRobot does not know the type, a file is
            missing or does not fit the configuration, a file from the hub is not cached, or code that comes with a
            tokenizer would run.
    """
    with offline():
        version = check_type(config)
        refuse_code(config)
        try:
            stated = _settings(config, device, flow_steps)
            module = _weights(config, stated)
            preprocess, postprocess = _processors(config, stated, device)
        except (UserError, MemoryError):
            raise
        except ImportError as error:
            extra = _NEEDS.get(config.type, config.type)
            raise UserError(
                f"LeRobot's policies of the type {config.type} need more ({_line(error)}): run "
                f"{install(f'lerobot[{extra}]')}"
            ) from None
        except Exception as error:
            # LeRobot raises many kinds for files that do not fit each other.
            raise UserError(_explain(config, error)) from error
    module.eval().requires_grad_(False)
    return Loaded(module, preprocess, postprocess, version)


def require(what: str) -> str:
    """Import LeRobot; return its version.

    Args:
        what: why it is needed, for the message: ``"act is a policy of LeRobot"``.

    Raises:
        UserError: it is missing or cannot be imported.
    """
    try:
        import lerobot.policies
    except ImportError as error:
        if sys.version_info < (3, 12) or getattr(error, "name", None) == "lerobot":
            raise UserError(
                f"{what}, which is missing here: in an environment of Python 3.12 or newer run "
                f"{install('headless-eval[lerobot]')}; scripts/run_headless.sh makes one for LeRobot's policies"
            ) from None
        raise UserError(f"LeRobot cannot be imported ({_line(error)}): install it anew") from None
    version: str = lerobot.__version__
    return version


def check_type(config: LeRobotConfig) -> str:
    """Import LeRobot, and check that it knows the type; return LeRobot's version.

    Raises:
        UserError: LeRobot is missing, or it does not know the type.
    """
    version = require(f"{config.name} is a policy of the type {config.type} and needs LeRobot's package")
    from lerobot.configs import PreTrainedConfig

    known = sorted(PreTrainedConfig.get_known_choices())
    if config.type not in known:
        raise UserError(
            f"{config.folder / 'config.json'} names the type {config.type!r}, which LeRobot {version} does not know: "
            f"known are {', '.join(known)}"
        )
    if config.stated.get("use_peft"):
        raise UserError(f"{config.name} is a PEFT adapter: merge it into its base policy first")
    return version


@contextmanager
def offline() -> Iterator[None]:
    """Let Hugging Face's libraries open no connection within the block."""
    before = {name: os.environ.get(name) for name in _OFFLINE}
    os.environ.update(dict.fromkeys(_OFFLINE, "1"))
    constants = sys.modules.get("huggingface_hub.constants")  # read when it was imported, perhaps before
    was = getattr(constants, "HF_HUB_OFFLINE", None)
    if constants is not None:
        constants.HF_HUB_OFFLINE = True  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        constants = sys.modules.get("huggingface_hub.constants")
        if constants is not None:
            constants.HF_HUB_OFFLINE = bool(before["HF_HUB_OFFLINE"]) if was is None else was  # type: ignore[attr-defined]


def _settings(config: LeRobotConfig, device: str, flow_steps: int | None) -> Any:
    """Return LeRobot's own configuration, but for what ``_CHANGED`` says."""
    from lerobot.configs import PreTrainedConfig

    stated = PreTrainedConfig.from_pretrained(str(config.folder), local_files_only=True)
    stated.device = device
    for name, value in _CHANGED.items():
        if hasattr(stated, name):
            setattr(stated, name, value)
    if flow_steps is not None:
        steps = [name for name in ("num_steps", "num_inference_steps") if hasattr(stated, name)]
        if not steps:
            raise UserError(f"a policy of LeRobot's type {config.type} has no flow: leave out --flow-steps")
        setattr(stated, steps[0], flow_steps)
    return stated


def _weights(config: LeRobotConfig, stated: Any) -> nn.Module:
    from lerobot.policies import PreTrainedPolicy, get_policy_class

    if not (config.folder / WEIGHTS).is_file():
        raise UserError(f"{config.folder} has no {WEIGHTS}: copy the checkpoint's")
    kind = get_policy_class(config.type)
    with redirect_stdout(sys.stderr):  # LeRobot prints what it loads
        module: nn.Module = kind.from_pretrained(str(config.folder), config=stated, local_files_only=True)
    own = inspect.getattr_static(kind, "from_pretrained") is not inspect.getattr_static(
        PreTrainedPolicy, "from_pretrained"
    )
    if not own:  # a type's own loading renames, so that the names in the file tell nothing
        _check_complete(module, config.folder / WEIGHTS)
    return module


def _check_complete(module: nn.Module, path: Path) -> None:
    """Refuse weights that lack a parameter: LeRobot leaves such parameters at random values.

    Raises:
        UserError: a parameter is missing that shares its memory with no other.
    """
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        stored = set(file.keys())
    tensors = module.state_dict(keep_vars=True)
    filled = {tensor.data_ptr() for name, tensor in tensors.items() if name in stored}
    missing = [
        name for name, tensor in tensors.items() if name not in stored and tensor.data_ptr() not in filled
    ]
    if missing:
        raise UserError(
            f"{path} lacks {len(missing)} of the model's {len(tensors)} tensors, such as {missing[0]}: it does not fit "
            "config.json"
        )


def _processors(config: LeRobotConfig, stated: Any, device: str) -> tuple[Any, Any]:
    from lerobot.policies import make_pre_post_processors

    to = {"preprocessor": device, "postprocessor": "cpu"}
    files = {"preprocessor": PREPROCESSOR, "postprocessor": POSTPROCESSOR}
    overrides = {}
    for which, name in files.items():
        steps = [step.get("registry_name") for step in read_processor(config.folder, name)]
        overrides[f"{which}_overrides"] = (
            {"device_processor": {"device": to[which]}} if "device_processor" in steps else {}
        )
    before, after = make_pre_post_processors(
        policy_cfg=stated, pretrained_path=str(config.folder), **overrides
    )
    return before, after


def _explain(config: LeRobotConfig, error: Exception) -> str:
    missing = missing_repositories(config)
    if missing and re.search("connect|offline|cache", str(error), re.IGNORECASE):
        return (
            f"{config.name} needs {' and '.join(missing)} from the hub, which is not cached: run "
            + " and ".join(command("fetch", name) for name in missing)
        )
    return f"LeRobot cannot load {config.folder} ({type(error).__name__}: {_line(error)})"


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
