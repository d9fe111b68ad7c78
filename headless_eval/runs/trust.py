"""Consent to the code and the addresses that a run's folder names: what ``headless-eval trust`` does."""

from collections.abc import Iterator
from pathlib import Path

from headless_eval.config.results import TrustConfig
from headless_eval.errors import UserError
from headless_eval.results import RunDirectory
from headless_eval.runs.resume import MATRIX, is_matrix
from headless_eval.shared.consent import remember, texts_in, texts_of
from headless_eval.shared.files import is_name
from headless_eval.shared.untrusted import read_json


def trust(config: TrustConfig) -> int:
    """Remember what a run's or a matrix's folder names, and print it.

    Raises:
        UserError: the folder holds no run and no matrix, or damaged ones.
    """
    texts = dict.fromkeys(_texts(config.directory))
    remember(texts)
    for text in texts:
        print(f"trusted from now on: {text}")
    if not texts:
        print(f"{config.directory} names no code of others and no address")
    return 0


def _texts(folder: Path) -> Iterator[str]:
    if not is_matrix(folder):
        yield from texts_of(RunDirectory.open(folder).manifest)
        return
    try:
        for entry in read_json(folder / MATRIX)["runs"]:
            yield from texts_in(entry["settings"])
            if is_name(entry["label"]) and (folder / entry["label"] / "manifest.json").is_file():
                yield from texts_of(RunDirectory.open(folder / entry["label"]).manifest)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / MATRIX} is damaged: {error}") from None
