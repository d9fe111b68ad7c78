"""What was evaluated, by its hashes, and where: a certificate's statements that no episode is needed for."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headless_eval.results.differences import Difference, differences
from headless_eval.runs.certificate.document import Certificate
from headless_eval.runs.certificate.statement import DIFFERS, FAILS, HOLDS, Statement

_HASHES = {
    "weights": ("policy", "fingerprint"),
    "policy's code": ("policy", "code"),
    "policy's configuration": ("policy", "config_sha256"),
    "tokenizer": ("policy", "tokenizer_sha256"),
    "normalisation statistics": ("policy", "norm_stats_sha256"),
    "processors": ("policy", "lerobot.processors_sha256"),
    "calibration": ("policy", "calibration_sha256"),
    "assets": ("simulator", "assets_sha256"),
    "suite's code": ("simulator", "code"),
    "methods' code": ("methods", ""),
}
"""Subjects that are stated by hashes, and where a manifest has them; the empty name is the section itself."""

_PLACES = {
    "policy": {"device", "batch", "threads", "engine", "origin", "lerobot.version"},
    "simulator": {"gl_renderer", "vulkan_device", "device", "versions", "origin"},
}
"""Entries of a manifest's sections that tell of the machine rather than of what was evaluated."""

_NO_RESULT = {"cpu_count", "memory_bytes"}
"""Facts of the hardware that change no result."""


def what_was_evaluated(certificate: Certificate, now: Mapping[str, Any]) -> Iterator[Statement]:
    """Yield a statement for each hash, and one for what else describes policy, suite and tasks.

    Args:
        certificate: what is stated.
        now: the manifest of a run that would start here, by ``contents.without_folders``.
    """
    stated = certificate.manifest()
    for subject, (section, name) in _HASHES.items():
        one, other = (_part(manifest, section, name) for manifest in (stated, now))
        if one or other:
            yield _by_hash(subject, one, other)
    yield _tasks(certificate, now)
    found = [one for one in differences(stated, now) if one.section in _PLACES and not _is_place(one, now)]
    hashes = tuple(f"{section}.{name}" for section, name in _HASHES.values() if name)
    found = [one for one in found if not f"{one.section}.{one.name}".startswith(hashes)]
    if found:
        yield Statement(FAILS, "policy and suite", "described otherwise", tuple(map(str, found)))


def where_it_ran(certificate: Certificate, now: Mapping[str, Any]) -> Iterator[Statement]:
    """Yield the statements on code, versions and hardware; arguments as of ``what_was_evaluated``.

    Other versions and other hardware refute nothing. Other code under the same version number does.
    """
    stated = certificate.manifest()
    yield _code(certificate, now)
    if certificate.forced:
        text = "the run was continued with --force although something had changed"
        yield Statement(DIFFERS, "continued", text, tuple(certificate.forced))
    found = [one for one in differences(stated, now) if one.name not in _NO_RESULT]
    versions = [one for one in found if one.section == "versions" and one.name != "headless_eval"]
    # The simulator's description names its libraries' versions, too.
    places = [one for one in found if _is_place(one, now) and one.name not in now["versions"]]
    yield _circumstance("versions", versions)
    yield _circumstance("hardware", [*(one for one in found if one.section == "hardware"), *places])


def _by_hash(subject: str, stated: Any, now: Any) -> Statement:
    if stated == now:
        return Statement(HOLDS, subject, f"the same ({_hash_text(stated)})")
    if not stated or not now:
        which = "the certificate states no hash" if not stated else "there is no hash here"
        return Statement(
            FAILS, subject, f"{which} ({_hash_text(stated or now)} {'here' if now else 'stated'})"
        )
    return Statement(FAILS, subject, f"another ({_hash_text(stated)} stated, {_hash_text(now)} here)")


def _tasks(certificate: Certificate, now: Mapping[str, Any]) -> Statement:
    """Compare the tasks; an own limit of steps is the run's choice, which is told."""
    here = {task["id"]: task for task in now["tasks"]}
    steps = certificate.settings.get("max_steps")
    changed, limits = [], [] if steps is None else [f"with --max-steps {steps}"]
    for task in certificate.tasks:
        for name in ("key", "name", "instruction"):
            stated, found = getattr(task, name), here[task.id][name]
            if stated != found:
                changed.append(f"{task.key}: {name} {stated!r:.80} stated, {found!r:.80} here")
        if task.max_steps != here[task.id]["max_steps"]:
            limits.append(
                f"{task.key}: {task.max_steps} steps at most; the limit here is {here[task.id]['max_steps']}"
            )
    if changed:
        return Statement(FAILS, "tasks", "others", tuple(changed))
    return Statement(
        HOLDS, "tasks", f"the same, with names and instructions ({len(certificate.tasks)})", tuple(limits)
    )


def _code(certificate: Certificate, now: Mapping[str, Any]) -> Statement:
    stated, here = certificate.source.get("sha256"), now["source"]["sha256"]
    one, other = (versions.get("headless_eval") for versions in (certificate.versions, now["versions"]))
    if stated == here:
        return Statement(HOLDS, "code", f"the same (headless-eval {one}, {_hash_text(stated)})")
    if one != other:
        return Statement(DIFFERS, "code", f"another version ({one} stated, {other} here)")
    commit = certificate.source.get("git_commit")
    hint = f"; the commit stated is {commit}" if commit else ""
    text = (
        f"other files of the same version {one} ({_hash_text(stated)} stated, {_hash_text(here)} here){hint}"
    )
    return Statement(FAILS, "code", text)


def _circumstance(subject: str, found: Sequence[Difference]) -> Statement:
    if not found:
        return Statement(HOLDS, subject, "the same")
    return Statement(DIFFERS, subject, "others here", tuple(map(str, found)))


def _is_place(one: Difference, now: Mapping[str, Any]) -> bool:
    """Return whether a difference is of the machine; libraries' versions are also in the simulator's description."""
    names = {one.name, one.name.partition(".")[0]}
    return one.section in _PLACES and bool(names & {*_PLACES[one.section], *now["versions"]})


def _part(manifest: Mapping[str, Any], section: str, name: str) -> Any:
    part = manifest.get(section) or {}
    for key in name.split(".") if name else ():
        part = part.get(key) if isinstance(part, Mapping) else None
    if name:
        return part
    return {
        variant: entries.get("code") or entries.get("sha256") or entries
        for variant, entries in part.items()
        if isinstance(entries, Mapping)
    }


def _hash_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_hash_text(one)}" for name, one in value.items())[:300]
    text = str(value)
    return f"sha256 {text[:16]}…" if len(text) == 64 else text[:60]
