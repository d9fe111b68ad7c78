"""Finding a policy: the bundled ones by name, others by folder or checkpoint. Imports torch only to load one."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from headless_eval.contracts.robots import ROBOTS
from headless_eval.errors import UserError
from headless_eval.policies.baselines import BASELINES
from headless_eval.policies.pi0.engine import ENGINES, EXECUTIONS
from headless_eval.policies.trained_on import TrainedOn, read_trained_on
from headless_eval.shared.suggest import unknown

if TYPE_CHECKING:
    from headless_eval.local_policy import LocalPolicy
    from headless_eval.policies.pi0.config import PolicyConfig

DEFAULT = "pi0-droid-tiny"
BUNDLED = Path(__file__).parent / "bundled"
DTYPES = ("float32", "bfloat16", "float16")
_CONFIG = "config.toml"


def list_policies() -> list[str]:
    """Return the names that ``load_policy`` knows: bundled policies, then baselines."""
    bundled = sorted(path.parent.name for path in BUNDLED.glob(f"*/{_CONFIG}"))
    return [*bundled, *BASELINES]


def trained_policies() -> dict[str, TrainedOn]:
    """Return what the bundled policies were trained on, by their names."""
    stated = {name: read_trained_on(BUNDLED / name) for name in list_policies()}
    return {name: trained_on for name, trained_on in stated.items() if trained_on is not None}


def load_policy(
    policy: str | Path = DEFAULT,
    *,
    checkpoint: str | Path | None = None,
    config: str | None = None,
    config_file: str | Path | None = None,
    tokenizer: str | Path | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    flow_steps: int | None = None,
    max_batch: int | None = None,
    engine: str = "auto",
    execution: str = "simulated",
    robot: str | None = None,
) -> "LocalPolicy":
    """Load a policy into this process.

    Args:
        policy: one of ``list_policies()``, or a folder with ``config.toml``, weights (``model.safetensors`` or
            its shards), ``assets/<asset_id>/norm_stats.json`` and ``tokenizer.model``.
        checkpoint: a folder with weights and statistics, instead of ``policy``: openpi's (JAX or PyTorch), LeRobot's
            or ours; or the address of one in openpi's cache (``gs://...``), or a hub id in Hugging Face's.
        config: its configuration by name, one of ``headless_eval.policies.pi0.config.CONFIGS``.
        config_file: its configuration as a TOML or JSON file, instead of ``config``; by default ``config.toml``
            in the folder, or LeRobot's ``config.json``.
        tokenizer: SentencePiece model; by default ``tokenizer.model`` beside the weights, or PaliGemma's in
            openpi's cache (``$OPENPI_DATA_HOME``).
        device: ``cpu``, ``cuda`` or ``cuda:0``.
        dtype: what the weights are kept in: float32, bfloat16 or float16.
        flow_steps: Euler steps of flow matching; by default the configuration's.
        max_batch: the fixed size of batches; by default 4 on a CPU and 8 on a GPU (see ``LocalPolicy``).
        engine: what computes, one of ``headless_eval.policies.pi0.engine.ENGINES``; results differ in the last bits.
        execution: ``simulated`` rounds to a precision's values, ``native`` computes with its types (fused engine).
        robot: the name of the robot that the policy is for, one of ``contracts.robots.ROBOTS``, where neither a
            configuration nor the checkpoint tells.

    Raises:
        UserError: there is no such policy, configuration, robot or device; a file is missing or does not fit; both a
            policy and a checkpoint are given; the policy is for another robot than the one named.
    """
    from headless_eval.local_policy import LocalPolicy

    check_device(device)
    check_engine(engine, execution)
    if dtype not in DTYPES:
        raise unknown("weight dtype", dtype, DTYPES)
    if max_batch is not None and max_batch < 1:
        raise UserError(f"max_batch is {max_batch}; it must be 1 or more")
    if flow_steps is not None and flow_steps < 1:
        raise UserError(f"flow_steps is {flow_steps}; it must be 1 or more")
    if checkpoint is None and str(policy) in BASELINES:
        if config or config_file or tokenizer or flow_steps or (engine, execution) != ("auto", "simulated"):
            raise UserError(
                f"policy {policy!r} has neither configuration, tokenizer, flow steps nor engine: leave them out"
            )
        return LocalPolicy(BASELINES[str(policy)](robot), str(policy))
    folder, name = find_policy(policy, checkpoint)
    settings = find_config(folder, config, None if config_file is None else Path(config_file), robot)
    if flow_steps is not None:
        settings = replace(settings, model=replace(settings.model, num_steps=flow_steps))
    from headless_eval.policies.pi0.doctor import preflight
    from headless_eval.policies.pi0.policy import Pi0Policy

    tokenizer = None if tokenizer is None else Path(tokenizer)
    preflight(folder, settings, tokenizer, device, dtype)
    loaded = Pi0Policy.from_checkpoint(
        folder, settings, tokenizer, device=device, dtype=dtype, engine=engine, execution=execution
    )
    return LocalPolicy(loaded, name, max_batch=max_batch)


def check_device(device: str, instead: str = "leave --gpu (device) out") -> None:
    """Refuse a device that is not there.

    Args:
        device: as torch names it.
        instead: how to compute on the CPU, for the message.

    Raises:
        UserError: it is not, or is none.
    """
    import torch

    try:
        wanted = torch.device(device)
    except RuntimeError:
        wanted = torch.device("meta")
    if wanted.type not in ("cpu", "cuda"):
        raise UserError(f"unknown device {device!r}: use cpu, cuda or cuda:INDEX")
    if wanted.type == "cuda":
        there = torch.cuda.device_count()
        if not torch.cuda.is_available():
            raise UserError(f"no device {device!r}: torch finds no CUDA GPU here; for the CPU {instead}")
        if (wanted.index or 0) >= there:
            raise UserError(f"no device {device!r}: there are {there} GPUs, counted from 0")


def check_engine(engine: str, execution: str) -> None:
    """Refuse names that no engine or execution has.

    Raises:
        UserError: one of them is unknown; the message names the nearest.
    """
    for what, name, known in (("engine", engine, ENGINES), ("execution", execution, EXECUTIONS)):
        if name not in known:
            raise unknown(what, name, known)


def find_policy(policy: str | Path, checkpoint: str | Path | None = None) -> tuple[Path, str]:
    """Return the folder of a policy or, where one is given, of a checkpoint, and what to call it.

    Raises:
        UserError: there is none; or another policy than the default is named beside a checkpoint.
    """
    if checkpoint is None:
        return _find_folder(policy)
    if str(policy) != DEFAULT:
        raise UserError(
            f"a policy ({policy}) and a checkpoint ({checkpoint}) are both given: leave out one of them"
        )
    from headless_eval.checkpoints.locate import find_checkpoint

    folder = find_checkpoint(checkpoint)
    return folder, folder.resolve().name


def _find_folder(policy: str | Path) -> tuple[Path, str]:
    bundled = BUNDLED / policy
    if str(policy) in list_policies():
        return bundled, str(policy)
    folder = Path(policy)
    if folder.is_dir():
        return folder, folder.resolve().name
    if folder.exists():
        raise UserError(f"policy {str(policy)!r} is a file: name the folder that holds it")
    from headless_eval.policies.pi0.config import CONFIGS

    if str(policy) in CONFIGS:
        raise UserError(
            f"{str(policy)!r} is a configuration whose weights are not bundled: give a checkpoint's folder with it "
            f"(--checkpoint DIR --config {policy})"
        )
    raise unknown("policy", str(policy), list_policies())


def find_config(
    folder: Path, name: str | None = None, file: Path | None = None, robot: str | None = None
) -> "PolicyConfig":
    """Return a checkpoint's configuration, by its name, from a file, or from the folder.

    Args:
        folder: of the checkpoint.
        name: of a known configuration.
        file: that holds a configuration.
        robot: the name of the robot that the policy is for, where a folder of LeRobot's does not tell.

    Raises:
        UserError: there is no such configuration, a name and a file are both given, the name is of other weights
            than the bundled ones, or the configuration is of another robot than the one named.
    """
    config = _find_config(folder, name, file, robot)
    if robot is not None and config.observation != ROBOTS.find(robot).name:
        raise UserError(
            f"the configuration {config.name} is for the robot {config.observation}, not {robot}: name another"
        )
    return config


def _find_config(folder: Path, name: str | None, file: Path | None, robot: str | None) -> "PolicyConfig":
    from headless_eval.policies.pi0.config import CONFIGS

    if name is not None and file is not None:
        raise UserError("config and config_file both given: a policy has one configuration")
    if name is not None:
        if name not in CONFIGS:
            raise unknown("config", name, CONFIGS)
        if folder.parent == BUNDLED and name != folder.name:
            raise UserError(
                f"the configuration {name} is not that of the bundled policy {folder.name}: give the checkpoint that "
                "has it, too (--checkpoint DIR)"
            )
        return CONFIGS[name]
    from headless_eval.policies.pi0.formats.lerobot import is_lerobot, read_lerobot_config

    if file is None and not (folder / _CONFIG).is_file() and is_lerobot(folder):
        return read_lerobot_config(folder, robot)
    if file is not None and not file.is_file():
        raise UserError(f"no configuration at {file}: it has to be a TOML or JSON file")
    file = file if file is not None else folder / _CONFIG
    if not file.is_file():
        raise UserError(
            f"{folder} has no configuration ({file} is missing): name one with --config NAME or --config-file FILE"
        )
    from headless_eval.policies.pi0.config import read_config

    return read_config(file)
