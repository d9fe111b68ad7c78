"""The file of a certificate: its fields, and how it is written and read.

A certificate comes from somebody else: it is read within bounds of size and depth, and every field has a type.
"""

import gzip
import json
import zlib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from headless_eval.errors import UserError
from headless_eval.results import ERROR, SUCCESS, EpisodeRecord
from headless_eval.shared.files import replacing
from headless_eval.shared.untrusted import MOST_BYTES, convert, parse_json

FORMAT = "headless-eval certificate"
VERSION = 1
"""The version of the format; readers refuse later ones."""


_MOST_EPISODES = 10**6
_GZIP = b"\x1f\x8b"

Name = Annotated[str, Meta(min_length=1, max_length=300)]
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Count = Annotated[int, Meta(ge=0, le=10**7)]


class TaskEntry(Struct, forbid_unknown_fields=True):
    """A task of the run.

    Args:
        id: its number in its suite.
        key: its name in files.
        name: its name for people.
        instruction: what the policy was told.
        max_steps: control steps that an episode might take.
    """

    id: Annotated[int, Meta(ge=0, le=2**31)]
    key: Name
    name: Name
    instruction: Annotated[str, Meta(max_length=10_000)]
    max_steps: Count


class VariantEntry(Struct, forbid_unknown_fields=True):
    """A variant of the run.

    Args:
        name: as records, tables and statistics call it.
        label: the name, if the user gave it.
        dtype: its precision's data type, method, or change by other code.
        mode: ``weights_only``, ``activations_only`` or ``both``.
        scope: the modules that its precision applies to, as text.
        settings: its settings beside the precision, such as ``{"flow_steps": 5}``.
    """

    name: Name
    label: Name | None
    dtype: Name
    mode: Name
    scope: Annotated[str, Meta(max_length=10_000)]
    settings: dict[Name, str | int | float] = {}


class Episode(Struct, array_like=True, forbid_unknown_fields=True):
    """An episode: a list, in this order.

    Args:
        variant: the variant's name.
        task: the task's id.
        episode: the episode's index.
        status: ``success``, ``failure`` or ``error``.
        steps: control steps taken.
        replans: action chunks computed.
        initial_state_sha256: hash of the numbers that it started from; None where the simulator does not tell them.
        actions_sha256: hash of all executed actions, as the journal has it.
        first_action: the first of them, float32 little-endian in base64; None where actions were not kept.
    """

    variant: Name
    task: Annotated[int, Meta(ge=0, le=2**31)]
    episode: Count
    status: Literal["success", "failure", "error"]
    steps: Count
    replans: Count
    initial_state_sha256: Sha256 | None
    actions_sha256: Sha256
    first_action: Annotated[str, Meta(max_length=4096)] | None

    @property
    def trial(self) -> tuple[str, int, int]:
        """Return (variant, task, episode), as records name their trial."""
        return self.variant, self.task, self.episode


class Certificate(Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=False):
    """All that a certificate states; ``docs/certificates.md`` describes the fields.

    ``policy``, ``methods``, ``simulator``, ``source``, ``versions`` and ``hardware`` are the sections of those names of
    the run's manifest, without the folders that files lay in.
    """

    format: Literal["headless-eval certificate"]
    version: Literal[1]
    created_at: Name
    started_at: Name
    finished_at: Name
    suite: Name
    tasks: list[TaskEntry]
    variants: list[VariantEntry]
    baseline: Name
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    episodes_per_task: Annotated[int, Meta(ge=1, le=100_000)]
    sequential: Annotated[float, Meta(gt=0, lt=1)] | None
    named_policy: Name | None
    settings: dict[Name, str | int | float | bool | list[str] | None]
    policy: dict[Name, Any]
    methods: dict[Name, Any]
    simulator: dict[Name, Any]
    source: dict[Name, Any]
    versions: dict[Name, str | None]
    hardware: dict[Name, Any]
    forced: list[str]
    statistics: list[dict[Name, Any]]
    episodes: list[Episode]

    def manifest(self) -> dict[str, Any]:
        """Return the sections that ``results.differences`` compares."""
        sections = ("suite", "settings", "policy", "methods", "simulator", "source", "versions", "hardware")
        return {name: getattr(self, name) for name in sections}

    def records(self) -> list[EpisodeRecord]:
        """Return the episodes as a journal's records, whose times are 0."""
        variants = {one.name: one for one in self.variants}
        tasks = {one.id: one for one in self.tasks}
        return [self._record(one, variants[one.variant], tasks[one.task]) for one in self.episodes]

    def _record(self, one: Episode, variant: VariantEntry, task: TaskEntry) -> EpisodeRecord:
        fields: dict[str, Any] = {
            "configuration": variant.name,
            "dtype": variant.dtype,
            "mode": variant.mode,
            "scope": variant.scope,
            "task_id": task.id,
            "task_key": task.key,
            "task_name": task.name,
            "instruction": task.instruction,
            "episode": one.episode,
            "status": one.status,
            "success": one.status == SUCCESS,
            "steps": one.steps,
            "max_steps": task.max_steps,
            "seed": self.seed,
            "replans": one.replans,
            "actions_sha256": one.actions_sha256,
            "video": None,
            "sim_s": 0.0,
            "render_s": 0.0,
            "infer_s": 0.0,
            "total_s": 0.0,
            "started_at": self.started_at,
            "error": {"type": "", "message": "", "traceback": ""} if one.status == ERROR else None,
            "variant": variant.settings or None,
            "initial_state_sha256": one.initial_state_sha256,
        }
        return EpisodeRecord.from_dict(fields)


def write(certificate: Certificate, path: Path) -> int:
    """Write a certificate: JSON with an episode a line, packed by gzip if the name ends with ``.gz``.

    Returns:
        The number of bytes.

    Raises:
        UserError: the file cannot be written, or the run's manifest holds what JSON cannot, such as NaN.
    """
    try:
        data = _encode(certificate)
    except ValueError as error:
        raise UserError(f"the run's manifest cannot be certified: {error}") from None
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, "wb") as file:
            file.write(data)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None
    return len(data)


def read_bytes(path: Path) -> bytes:
    """Return a certificate's bytes, as they are signed.

    Raises:
        UserError: the file cannot be read, or is too large.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    if len(data) > MOST_BYTES:
        raise UserError(f"{path} is no certificate: it is larger than {MOST_BYTES // 2**20} MB")
    return data


def decode(data: bytes, path: Path) -> Certificate:
    """Return the certificate that some bytes are.

    Args:
        data: as ``read_bytes`` returns them.
        path: of the file, for messages.

    Raises:
        UserError: it is not a certificate, is damaged or contradicts itself, or is of a later version.
    """
    try:
        table = parse_json(_unpacked(data))
        head = convert(table, _Head)
        if head.format != FORMAT:
            raise ValueError("'format' is another")
        if head.version > VERSION:
            raise UserError(
                f"{path} is a certificate of version {head.version}, which a later headless-eval wrote: update to "
                "read it"
            )
        certificate = convert(table, Certificate)
        _check(certificate)
    except (ValueError, zlib.error) as error:
        raise UserError(f"{path} is no certificate, or is damaged: {error!s:.200}") from None
    return certificate


class _Head(Struct):
    format: str
    version: int


def _unpacked(data: bytes) -> bytes:
    if not data.startswith(_GZIP):
        return data
    packed = zlib.decompressobj(wbits=31)
    text = packed.decompress(data, MOST_BYTES + 1)
    if len(text) > MOST_BYTES or not packed.eof or packed.unused_data:
        raise ValueError("it is cut, or unpacks to too much")
    return text


def _check(certificate: Certificate) -> None:
    """Refuse what contradicts itself.

    Raises:
        ValueError: names are there twice, or an episode is of no variant or task, or has more steps than allowed.
    """
    tasks = {task.id: task for task in certificate.tasks}
    names = {variant.name for variant in certificate.variants}
    trials = {episode.trial for episode in certificate.episodes}
    keys = {task.key for task in certificate.tasks}
    if (
        len(tasks) < len(certificate.tasks)
        or len(keys) < len(tasks)
        or len(names) < len(certificate.variants)
    ):
        raise ValueError("a task or a variant is named twice")
    if len(trials) < len(certificate.episodes):
        raise ValueError("an episode is there twice")
    if len(tasks) * len(names) * certificate.episodes_per_task > _MOST_EPISODES:
        raise ValueError(f"it is of more than {_MOST_EPISODES} episodes")
    for episode in certificate.episodes:
        if episode.variant not in names or episode.task not in tasks:
            raise ValueError(f"the episode {episode.trial} is of no variant or no task of the run")
        if episode.steps > tasks[episode.task].max_steps:
            raise ValueError(f"the episode {episode.trial} has more steps than its task allows")


def _encode(certificate: Certificate) -> bytes:
    """Return JSON with a field a line, and an episode or a row of statistics a line."""
    lines = []
    for name, value in msgspec.to_builtins(certificate).items():
        if name in ("episodes", "statistics") and value:
            text = "[\n  " + ",\n  ".join(map(_json, value)) + "\n ]"
        else:
            text = _json(value)
        lines.append(f" {_json(name)}: {text}")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
