"""What a LeRobot folder names besides itself: tokenizers and models, by hub id or by folder."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headless_eval.checkpoints.locate import hub_folder
from headless_eval.errors import UserError
from headless_eval.policies.lerobot.config import (
    POSTPROCESSOR,
    PREPROCESSOR,
    LeRobotConfig,
    read_processor,
)

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_TRUSTED = ("lerobot/fast-action-tokenizer", "physical-intelligence/fast")
"""Repositories whose code may run: the tokenizer of π0-FAST's actions is a class of its own."""


def missing_repositories(config: LeRobotConfig) -> list[str]:
    """Return the hub ids that the configuration and the processors name and that are not cached."""
    named = [
        text
        for key, text in _texts(config)
        if re.search(r"model_name|tokenizer|processor_name|encoder_name", key) and _HUB_ID.fullmatch(text)
    ]
    return [
        name for name in dict.fromkeys(named) if not Path(name).exists() and not hub_folder(name).is_dir()
    ]


def refuse_code(config: LeRobotConfig) -> None:
    """Refuse to load what would run code that comes with a tokenizer or a model.

    LeRobot lets Hugging Face's library run it, wherever the configuration says that it lies.

    Raises:
        UserError: the configuration or a processor names a folder or a cached repository that brings code of its own,
            and the repository is not one of ``_TRUSTED``.
    """
    for _, text in _texts(config):
        if text in _TRUSTED or not text:
            continue
        folders = [Path(text)]
        if _HUB_ID.fullmatch(text):
            folders += (hub_folder(text) / "snapshots").glob("*")
        for folder in folders:
            if any('"auto_map"' in path.read_text(errors="replace") for path in _configurations(folder)):
                raise UserError(
                    f"{config.name} names {text}, whose own code would run (auto_map in {folder}): not loaded"
                )


def _configurations(folder: Path) -> list[Path]:
    try:
        return sorted(folder.glob("*config.json")) if folder.is_dir() else []
    except OSError:  # a text that is no path, such as a very long one
        return []


def _texts(config: LeRobotConfig) -> Iterator[tuple[str, str]]:
    """Yield the texts that the configuration and the processors state, each with its key."""

    def walk(key: str, value: Any) -> Iterator[tuple[str, str]]:
        if isinstance(value, Mapping):
            for inner, of in value.items():
                yield from walk(str(inner), of)
        elif isinstance(value, list):
            for of in value:
                yield from walk(key, of)
        elif isinstance(value, str):
            yield key, value

    yield from walk("", config.stated)
    for name in (PREPROCESSOR, POSTPROCESSOR):
        for step in read_processor(config.folder, name):
            yield from walk("", step.get("config"))
