"""Consent to the code and the addresses that a run's folder names: what ``headless-eval trust`` does."""

from pathlib import Path
from typing import Any

from headless_eval.config.results import TrustConfig
from headless_eval.errors import UserError
from headless_eval.results import RunDirectory
from headless_eval.runs.resume import MATRIX, is_matrix
from headless_eval.shared.consent import remember, texts_in
from headless_eval.shared.untrusted import read_json


def trust(config: TrustConfig) -> int:
    """Remember what a run's or a matrix's folder names, and print it.

    Raises:
        UserError: the folder holds no run and no matrix, or damaged ones.
    """
    texts = dict.fromkeys(text for settings in _settings(config.directory) for text in texts_in(settings))
    remember(texts)
    for text in texts:
        print(f"trusted from now on: {text}")
    if not texts:
        print(f"{config.directory} names no code of others and no address")
    return 0


def _settings(folder: Path) -> list[Any]:
    if is_matrix(folder):
        try:
            return [entry["settings"] for entry in read_json(folder / MATRIX)["runs"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{folder / MATRIX} is damaged: {error}") from None
    manifest = RunDirectory.open(folder).manifest
    return [{"suite": manifest.get("suite")}, manifest.get("settings")]
