"""Differences between two manifests in entries that results depend on or may depend on."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from headless_eval.config.stored import free_settings

# What changes no trial's result; which settings do not, they say themselves.
_UNIMPORTANT = {
    "policy": {"name", "warmup_s", "loaded_s", "file", "determinism"},
    "simulator": {"file"},
    "source": {"git_commit", "git_modified"},
}
_SECTIONS = ("settings", "policy", "methods", "simulator", "source", "versions", "hardware")
_WORDS = {
    ("policy", "fingerprint"): "the weights",
    ("source", "sha256"): "headless-eval's code",
    ("policy", "calibration_sha256"): "the calibration",
    ("policy", "norm_stats_sha256"): "the normalisation statistics",
    ("policy", "tokenizer_sha256"): "the tokenizer",
    ("policy", "config_sha256"): "the policy's configuration",
}


class Difference(NamedTuple):
    """An entry that differs between two manifests; ``section`` is the manifest's section."""

    section: str
    name: str
    then: Any
    now: Any

    @property
    def binding(self) -> bool:
        """Whether the difference prevents resuming a run; only differences of hardware do not."""
        return self.section != "hardware"

    def __str__(self) -> str:
        what = _WORDS.get((self.section, self.name))
        if what is None:
            what = f"--{self.name.replace('_', '-')}" if self.section == "settings" else self.name
            if self.section in ("policy", "simulator") and what.startswith("code."):
                what = f"code {what.removeprefix('code.')}"
            what = f"the {self.section}'s {what}" if self.section in ("simulator", "policy") else what
            what = f"the method {what}" if self.section == "methods" else what
        return f"{what}: {_short(self.then)} then, {_short(self.now)} now"


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """Return the differences between two manifests, without entries that no result depends on.

    If one manifest lacks an entry, this counts as a difference only if both were written by a version that has it.
    """
    found = []
    suite = then.get("suite")
    unimportant = {**_UNIMPORTANT, "settings": free_settings(suite if isinstance(suite, str) else None)}
    now = json.loads(json.dumps(now))  # tuples are lists in JSON
    for section in _SECTIONS:
        old, new = dict(_flat(then.get(section))), dict(_flat(now.get(section)))
        for name in old:
            ignored = name.partition(".")[0] in unimportant.get(section, ())
            ignored = ignored or (section == "methods" and name.endswith(".file"))  # its hash counts
            if name in new and not ignored and _value(name, old) != _value(name, new):
                found.append(Difference(section, name, old[name], new[name]))
    return found


def _value(name: str, entries: Mapping[str, Any]) -> Any:
    value = entries[name]
    if name == "device" and isinstance(value, str):  # which of several GPUs does not matter
        return value.partition(":")[0]
    # The package's own classes and files of users move; the code's hash tells whether they changed.
    if (
        name == "class"
        and isinstance(value, str)
        and value.startswith(("headless_eval.", "headless_eval_file_"))
    ):
        return value.rpartition(".")[2]
    return value


def _flat(entries: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the entries of nested objects under dotted names."""
    if not isinstance(entries, Mapping):
        return
    for name, value in entries.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(_short(one) for one in value)[:60] or "none"
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 else text[:60]
