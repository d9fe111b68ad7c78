"""What a certificate may name to be loaded: this package's own policies, suites and methods. All else the user names.

A certificate comes from somebody else. Its check takes no path, no address and no place in code from it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headless_eval.config.results import VerifyConfig
from headless_eval.config.run import RunConfig
from headless_eval.config.stored import run_with
from headless_eval.config.variants import settings_for
from headless_eval.contracts.variant import Variant
from headless_eval.errors import UserError
from headless_eval.policies.registry import DEFAULT
from headless_eval.quant.changes import stored_text
from headless_eval.quant.dtypes import DTYPES
from headless_eval.quant.methods import METHODS
from headless_eval.quant.precision import Precision
from headless_eval.runs.certificate.contents import SETTINGS, bundled_policies, without_folder
from headless_eval.runs.certificate.document import Certificate, VariantEntry
from headless_eval.shared.flags import declared
from headless_eval.sims.registry import SUITES, find_suite


def bundled_suite(name: str) -> bool:
    """Return whether a suite is this package's own."""
    return name in SUITES and SUITES.place(name) is None


def settings_to_check(certificate: Certificate, given: VerifyConfig, *, cuda: bool) -> RunConfig:
    """Return the settings that repeat a certificate's episodes here.

    Args:
        certificate: what was run.
        given: the flags of verify, which name what the certificate may not.
        cuda: whether this machine has a GPU for a policy that ran on one.

    Raises:
        UserError: something has to be named by a flag, or the certificate's settings are not valid.
    """
    suite = _suite(certificate, given)
    settings = {name: certificate.settings[name] for name in SETTINGS if name in certificate.settings}
    variants = [_variant(entry, given.method) for entry in certificate.variants]
    on_gpu = str(certificate.policy.get("device")).startswith("cuda")
    values: dict[str, Any] = {
        **settings,
        **_of_simulator(suite, certificate.settings),
        **settings_for(variants),
        **_policy(certificate, given),
        "suite": suite,
        "tasks": [str(task.id) for task in certificate.tasks],
        "episodes": certificate.episodes_per_task,
        "seed": certificate.seed,
        "baseline": certificate.baseline,
        "gpu": 0 if cuda and on_gpu else None,
        **given.changes,
    }
    config = run_with(values)
    found = {(one.name, one.mode, one.scope) for one in config.variants}
    if found != {(one.name, one.mode, one.scope) for one in certificate.variants}:
        raise UserError("the certificate contradicts itself: its settings give other variants than it names")
    return config


def _suite(certificate: Certificate, given: VerifyConfig) -> str:
    if given.suite is not None:
        if find_suite(given.suite).name != certificate.suite:
            raise UserError(f"--suite {given.suite} is not the certificate's suite, {certificate.suite}")
        return given.suite
    if not bundled_suite(certificate.suite):
        raise UserError(
            f"the certificate's suite {certificate.suite} is not part of headless-eval, and a certificate chooses no "
            "code: name the suite with --suite, as the run did"
        )
    return certificate.suite


def _of_simulator(suite: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a suite's simulators; paths among them are for the user to name."""
    known = declared(find_suite(suite).settings)
    return {one.name: settings[one.name] for one in known if one.kind is not Path and one.name in settings}


def _policy(certificate: Certificate, given: VerifyConfig) -> dict[str, Any]:
    """Return the policy to load: the one that flags name, else one of this package's own.

    Raises:
        UserError: the policy, or its arguments, have to be named.
    """
    wanted = certificate.settings.get("policy_args")
    if (wanted or []) != list(given.policy_args):
        said = " ".join(wanted) if wanted and isinstance(wanted, list) else "none"
        raise UserError(
            f"the arguments of the certificate's policy are {said!r:.200}, and a certificate gives none to your code: "
            "give the same with --policy-args"
        )
    if given.policy is not None or given.checkpoint is not None:
        return {"policy": given.policy or DEFAULT}
    if certificate.named_policy not in bundled_policies():
        name = certificate.policy.get("name")
        raise UserError(
            f"the certificate's policy {name!r:.80} is not part of headless-eval, and a certificate chooses no code "
            "and no files: name it with --policy or --checkpoint, and its hash is checked"
        )
    return {"policy": certificate.named_policy}


def _variant(entry: VariantEntry, named: Sequence[str]) -> Variant:
    """Return a variant of the certificate; other code than this package's only as the user names it.

    Raises:
        UserError: the variant's precision is other code, which is not named; or there is no such precision.
    """
    by_text = {without_folder(stored_text(text)): text for text in named}
    kind = entry.dtype.partition("_")[0]
    own = entry.dtype in DTYPES or (kind in METHODS and METHODS.place(kind) is None)
    if not own and entry.dtype not in by_text:
        raise UserError(
            f"the variant {entry.name} is made by {entry.dtype}, which is not part of headless-eval, and a certificate "
            "chooses no code: name it with --method, as the run did with --dtypes"
        )
    precision = Precision(by_text.get(entry.dtype, entry.dtype), entry.mode)
    return Variant(precision, dict(entry.settings), entry.label)
