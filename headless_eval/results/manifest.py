"""The manifest of a run (``manifest.json``): settings, versions, hashes and hardware."""

import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headless_eval.contracts.simulator import Task
from headless_eval.contracts.variant import DEFAULT_BASELINE, Variant

# Endings of files with code; kernels are compiled where they run.
_SOURCES = (".py", ".c", ".cu")
_PACKAGE = Path(__file__).resolve().parents[1]
# Libraries that every run uses, whatever its simulator and policy: for seeds, statistics, videos.
_LIBRARIES = ("numpy", "scipy", "imageio-ffmpeg")


def build_manifest(
    *,
    suite: str,
    tasks: Sequence[Task],
    variants: Sequence[Variant],
    episodes: int,
    seed: int,
    settings: Mapping[str, Any],
    policy: Mapping[str, Any],
    simulator: Mapping[str, Any],
    gl_renderer: str | None = None,
    command: Sequence[str] | None = None,
    baseline: str = DEFAULT_BASELINE,
    libraries: Iterable[str] = (),
    metrics: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the manifest of a run that starts now.

    Args:
        suite: the suite's name.
        tasks: the tasks that will run, in the order of the results.
        variants: the variants to compare, in the order of the results.
        episodes: episodes per task and variant.
        seed: the run's seed.
        settings: every other setting of the run, ready for JSON.
        policy: the policy's description, including the hash of its weights.
        simulator: the description that ``Simulator.describe()`` returns.
        gl_renderer: the OpenGL renderer's name; None without OpenGL.
        command: the command line; by default this process's.
        baseline: the name of the variant that the others are compared with.
        libraries: distributions of simulator and policy whose versions results can depend on.
        metrics: the units of the outcomes that records have beside success, by name.

    Returns:
        A dict ready for JSON.
    """
    return {
        "suite": suite,
        "tasks": [task_entry(task) for task in tasks],
        "variants": [_variant(variant) for variant in variants],
        "baseline": baseline,
        **({"methods": methods} if (methods := _methods(variants)) else {}),
        **({"metrics": dict(metrics)} if metrics else {}),
        "episodes": episodes,
        "seed": seed,
        "headless": True,
        "settings": dict(settings),
        "policy": dict(policy),
        "simulator": dict(simulator),
        "command": list(sys.argv if command is None else command),
        "versions": versions(libraries),
        "source": source(),
        "hardware": hardware(gl_renderer),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "finished_at": None,
        "exit_status": None,
    }


def versions(libraries: Iterable[str] = ()) -> dict[str, str | None]:
    """Return the versions of headless_eval, Python and the libraries; None for a library that is not installed."""
    found: dict[str, str | None] = {
        "headless_eval": _version("headless-eval"),
        "python": platform.python_version(),
    }
    return found | {name: _version(name) for name in (*_LIBRARIES, *libraries)}


def source() -> dict[str, Any]:
    """Return the identity of the code: hash of the package's source, git commit, and whether files were changed.

    The commit is None unless the package lies at the top of a git work tree.
    """
    digest = hashlib.sha256()
    files = (path for path in _PACKAGE.rglob("*") if path.suffix in _SOURCES)
    for path in sorted(files, key=lambda path: path.relative_to(_PACKAGE).as_posix()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(_PACKAGE).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    commit = modified = None
    top = _git("rev-parse", "--show-toplevel")
    if top and Path(top).resolve() == _PACKAGE.parent:
        commit = _git("rev-parse", "HEAD")
        modified = bool(_git("status", "--porcelain", "--untracked-files=no", "--", "headless_eval"))
    return {"sha256": digest.hexdigest(), "git_commit": commit, "git_modified": modified}


def hardware(gl_renderer: str | None = None) -> dict[str, Any]:
    """Return the platform, the processor and its count, memory in bytes, GPUs, and the OpenGL renderer."""
    return {
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": _gpus(),
        "gl_renderer": gl_renderer,
    }


def task_entry(task: Task) -> dict[str, Any]:
    """Return the task's fields; optional ones that it does not have are left out."""
    return {name: value for name, value in asdict(task).items() if value not in (None, ())}


def _variant(variant: Variant) -> dict[str, Any]:
    entry = {"name": variant.name, "dtype": variant.dtype, "mode": variant.mode, "scope": variant.scope}
    return entry | ({"settings": dict(variant.settings)} if variant.settings else {})


def _methods(variants: Sequence[Variant]) -> dict[str, Any]:
    """Return where the code of methods of other packages and files comes from, by the variants' names."""
    sources = {variant.name: getattr(variant.precision, "source", None) for variant in variants}
    return {name: source for name, source in sources.items() if source is not None}


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(_PACKAGE), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _gpus() -> list[str]:
    # Without torch loaded the process uses no GPU, and importing torch takes seconds.
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
