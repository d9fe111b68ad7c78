"""What a certificate states of a run: taken from its folder, whose hashes are checked on the way."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np

from headless_eval.config.run import RunConfig
from headless_eval.config.stored import to_table
from headless_eval.contracts.variant import Variant
from headless_eval.errors import UserError
from headless_eval.policies.baselines import BASELINES
from headless_eval.policies.registry import BUNDLED, CONFIG
from headless_eval.results import EpisodeRecord, RunDirectory
from headless_eval.runs.calibrate import FILE as CALIBRATION
from headless_eval.runs.certificate import document
from headless_eval.runs.certificate.document import Certificate, TaskEntry
from headless_eval.runs.certificate.statistics import missing_trials, statistics_of
from headless_eval.runs.resume import config_from
from headless_eval.shared.flags import flat
from headless_eval.shared.text import plural

SETTINGS = (
    "include",
    "exclude",
    "bits",
    "calibration_steps",
    "max_steps",
    "open_loop_horizon",
    "flow_steps",
    "engine",
    "execution",
    "config",
    "robot",
    "policy_args",
)
"""The settings of a run that a certificate states and its check uses, beside the suite's own; none is a path."""

SECTIONS = ("policy", "methods", "simulator", "source", "versions", "hardware")
"""The sections of the manifest that a certificate has."""


def bundled_policies() -> set[str]:
    """Return the policies that are this package's own, by name: what a certificate may name to be loaded."""
    return {path.parent.name for path in BUNDLED.glob(f"*/{CONFIG}")} | set(BASELINES)


def certificate_of(run: RunDirectory) -> Certificate:
    """Return the certificate of a run.

    Raises:
        UserError: the run lacks episodes, or holds something that its own hashes do not confirm; or it is damaged.
    """
    manifest, folder = run.manifest, run.path
    config = config_from(manifest, folder)
    if config.until_width or config.sequential_on is not None:
        raise UserError(
            f"{folder} cannot be certified: which episodes it has depends on outcomes that a certificate does not "
            "state (--until-width, --sequential-on)"
        )
    own = config.checkpoint is None and config.policy in bundled_policies()
    fields: dict[str, Any] = {
        "format": document.FORMAT,
        "version": document.VERSION,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **{name: manifest.get(name) for name in ("started_at", "finished_at", "suite", "seed")},
        "tasks": [
            {name: entry.get(name) for name in TaskEntry.__struct_fields__} for entry in manifest["tasks"]
        ],
        "variants": [_variant(one) for one in config.variants],
        "baseline": run.baseline,
        "episodes_per_task": manifest.get("episodes"),
        "sequential": config.sequential,
        "named_policy": config.policy if own else None,
        "settings": _settings(config),
        **{name: without_folders(manifest.get(name) or {}) for name in SECTIONS},
        "forced": _forced(manifest),
        "statistics": [],
        "episodes": [_episode(run, record) for record in run.records()],
    }
    _check_calibration(run)
    try:
        certificate = msgspec.convert(fields, Certificate)
    except msgspec.ValidationError as error:
        raise UserError(f"{folder} cannot be certified: manifest or journal are damaged ({error})") from None
    if missing := missing_trials(certificate):
        raise UserError(
            f"{folder} cannot be certified: {plural(missing, 'episode')} of the run are missing; run them first, with "
            f"headless-eval run --resume {folder}"
        )
    certificate.statistics = statistics_of(certificate)
    return certificate


def _variant(variant: Variant) -> dict[str, Any]:
    found = {name: getattr(variant, name) for name in ("name", "label", "dtype", "mode", "scope")}
    return found | {"dtype": without_folder(variant.dtype), "settings": dict(variant.settings)}


def _settings(config: RunConfig) -> dict[str, Any]:
    """Return the settings that a certificate states: ``SETTINGS``, and the simulator's that are no paths."""
    found = {name: value for name, value in to_table(config).items() if name in SETTINGS}
    for setting, value in flat(config.simulator):
        if setting.kind is not Path:
            found[setting.name] = value
    return msgspec.to_builtins(found)


def _forced(manifest: Mapping[str, Any]) -> list[str]:
    """Return what had changed each time that the run was continued in spite of it."""
    entries = manifest.get("resumed")
    changed = [entry.get("differences") for entry in entries or () if isinstance(entry, Mapping)]
    return [str(one) for found in changed if isinstance(found, list) for one in found]


def _episode(run: RunDirectory, record: EpisodeRecord) -> list[Any]:
    """Return an episode as a certificate has it.

    Raises:
        UserError: the record's seed is not the run's, or its actions were kept and do not have its hash.
    """
    name = f"{run.path}: {record.configuration}, {record.task_key}, episode {record.episode}"
    if record.seed != run.manifest.get("seed"):
        raise UserError(f"{name} cannot be certified: its seed {record.seed} is not the run's")
    actions = run.actions(record)
    if actions is None and record.actions is not None and record.steps:
        raise UserError(
            f"{name} cannot be certified: its actions are missing, or do not have the journal's hash; copy "
            "the whole folder again"
        )
    return [
        *(record.configuration, record.task_id, record.episode, record.status, record.steps, record.replans),
        *(record.initial_state_sha256, record.actions_sha256, first_action(actions)),
    ]


def _check_calibration(run: RunDirectory) -> None:
    """Compare the run's calibration with the manifest's hash of it.

    Raises:
        UserError: it is another, or missing.
    """
    policy = run.manifest.get("policy")
    stated = policy.get("calibration_sha256") if isinstance(policy, Mapping) else None
    if stated is None:
        return
    from headless_eval.quant import Calibration  # imports torch

    path = run.path / CALIBRATION
    if Calibration.load(path).sha256() != stated:
        raise UserError(f"{path} is not the calibration of this run: its hash is not the manifest's")


def first_action(actions: np.ndarray | None) -> str | None:
    """Return the first of some executed actions (steps, dims) as a certificate has it; None without actions."""
    if actions is None or not len(actions):
        return None
    return base64.b64encode(np.ascontiguousarray(actions[0], "<f4").tobytes()).decode()


def without_folders(entries: Any) -> Any:
    """Return a manifest's section whose absolute and relative paths are names alone, and without entries ``file``.

    Where files lie differs between machines, and tells of its owner.
    """
    if isinstance(entries, Mapping):
        return {name: without_folders(value) for name, value in entries.items() if name != "file"}
    if isinstance(entries, list | tuple):
        return [without_folders(value) for value in entries]
    return without_folder(entries) if isinstance(entries, str) else entries


def without_folder(text: str) -> str:
    """Return the text of a path without its folder; other texts as they are."""
    path, bracket, arguments = text.partition("(")  # of a change, which may hold slashes, too
    if not path.startswith(("/", "./", "../", "~/")):
        return text
    return PurePosixPath(path).name + bracket + arguments
