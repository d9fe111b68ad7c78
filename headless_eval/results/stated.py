"""What a run's manifest has to state, and of which types; the manifest may come from anybody."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta

from headless_eval.contracts.variant import DEFAULT_BASELINE
from headless_eval.results.record import Count, Seed
from headless_eval.shared.untrusted import convert

_TWICE = ("episodes", "seed", "baseline")


@dataclass(frozen=True)
class _Task:
    id: Count
    key: str
    name: str


@dataclass(frozen=True)
class _Variant:
    name: str
    dtype: str = ""


@dataclass(frozen=True)
class _Stated:
    """The entries that are read; others are kept as they are.

    The suite becomes a part of files' names.
    """

    format: Count
    suite: Annotated[str, Meta(pattern=r"^\w[\w.-]*\Z")]
    tasks: Annotated[list[_Task], Meta(min_length=1)]
    variants: Annotated[list[_Variant], Meta(min_length=1)]
    episodes: Count
    seed: Seed | None = None
    baseline: str = DEFAULT_BASELINE
    status: str = ""
    exit_status: int | None = None
    started_at: str | None = None
    finished_at: str | None = None
    settings: dict[str, Any] | None = None
    policy: dict[str, Any] | None = None
    simulator: dict[str, Any] | None = None
    hardware: dict[str, Any] | None = None
    source: dict[str, Any] | None = None
    versions: dict[str, str | None] | None = None
    metrics: dict[str, str] | None = None
    methods: dict[str, Any] | None = None
    command: list[str] | None = None
    peak_memory_bytes: Annotated[int, Meta(ge=0)] = 0
    time: dict[str, float] | None = None
    quantized: dict[str, Any] | None = None
    resumed: list[dict[str, Any]] | None = None


def check_stated(manifest: Mapping[str, Any]) -> None:
    """Check the entries of a manifest that are read.

    Raises:
        ValueError: an entry is missing or of another type, or the settings say otherwise; the message names it.
    """
    convert(manifest, _Stated)
    settings = manifest.get("settings") or {}
    for name in _TWICE:
        if name in settings and name in manifest and settings[name] != manifest[name]:
            raise ValueError(
                f"{name!r} is {manifest[name]!r:.40}, and {settings[name]!r:.40} in its settings"
            )
