"""The command ``describe``: text about an image by a model's language backbone, at several precisions."""

from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from headless_eval.checkpoints.locate import find_checkpoint
from headless_eval.checkpoints.stored import Stored
from headless_eval.config.describe import DescribeConfig
from headless_eval.errors import UserError
from headless_eval.policies.device import check_device
from headless_eval.policies.paligemma.formats import (
    is_paligemma,
    load_paligemma,
    open_folder,
    read_sizes,
    sized,
)
from headless_eval.policies.paligemma.model import PaliGemma, PaliGemmaConfig
from headless_eval.policies.paligemma.tokenizer import Tokenizer, find_tokenizer
from headless_eval.quant import Calibration, Recorder, quantize_
from headless_eval.quant.precision import Precision
from headless_eval.shared.terminal import Listing, new_console


def describe(settings: DescribeConfig) -> int:
    """Print the model's text at each precision; return the exit status, 0.

    Raises:
        UserError: the checkpoint has no complete language model, or a file is missing or malformed.
    """
    check_device(settings.device)
    folder = find_checkpoint(settings.checkpoint)
    config, stored = _find(folder, settings)
    tokenizer = Tokenizer(find_tokenizer(folder if folder.is_dir() else folder.parent, settings.tokenizer))
    if len(tokenizer) > config.vocab_size:
        raise UserError(
            f"the tokenizer {tokenizer.path} has {len(tokenizer)} tokens, the model {config.vocab_size}: "
            "it is not the one that the model was trained with"
        )
    image = read_picture(settings.image, config.siglip.image_size)
    prompt = torch.tensor([tokenizer.instruction_tokens(settings.prompt)])
    model = load_paligemma(
        stored, config, folder, torch.device(settings.device), getattr(torch, settings.dtype)
    )
    rows, reference = [], None
    for precision in settings.precisions:
        tokens = _at(precision, model, image, prompt, tokenizer.end, settings.tokens)
        if reference is None and precision.dtype == "float32":
            reference = tokens
        same = "" if reference is None else f"{_common(tokens, reference)} of {len(reference)}"
        rows.append([precision.name, " ".join(tokenizer.decode(tokens).split()), same])
    if len(rows) == 1:
        print(rows[0][1])
    else:
        new_console().print(Listing(("precision", "text", "tokens as float32"), rows, 3))
    return 0


def _find(folder: Path, settings: DescribeConfig) -> tuple[PaliGemmaConfig, dict[str, Stored]]:
    """Return the sizes of a checkpoint's PaliGemma, and its stored parameters."""
    if folder.is_file():
        raise UserError(
            f"{folder} is one of open-pi-zero's files, which leave out what only writes: name PaliGemma's folder"
        )
    if is_paligemma(folder):
        if settings.config or settings.config_file:
            raise UserError(f"{folder} is a PaliGemma folder, which states its sizes: leave out --config")
        stored = open_folder(folder)
        return read_sizes(folder, stored), stored
    from headless_eval.policies.pi0.config import PolicyConfig
    from headless_eval.policies.pi0.formats.openpi_jax import find_params, stored_parameters
    from headless_eval.policies.registry import find_config

    policy = find_config(folder, settings.config, settings.config_file)
    if not isinstance(policy, PolicyConfig):
        raise UserError(
            f"the configuration {policy.name} is of policies without a language model that writes"
        )
    params = find_params(folder)
    stored = open_folder(folder) if params is None else stored_parameters(params)
    stored = {
        name: of for name, of in stored.items() if name.startswith(("vision.", "image_", "language.", "lm_"))
    }
    return sized(policy.model.gemma, policy.model.siglip, stored), stored


def _at(
    precision: Precision, model: PaliGemma, image: Tensor, prompt: Tensor, end: int, most: int
) -> list[int]:
    """Return the tokens that a model writes at a precision; the model is restored afterwards."""
    if precision.dtype == "float32":
        return _write(model, image, prompt, end, most)
    with quantize_(model, precision, calibration=_calibrate(precision, model, image, prompt)):
        return _write(model, image, prompt, end, most)


def _write(model: PaliGemma, image: Tensor, prompt: Tensor, end: int, most: int) -> list[int]:
    tokens: list[int] = []
    for token, _ in islice(model.generate(image, prompt), most):
        if token == end:
            break
        tokens.append(token)
    return tokens


def _calibrate(precision: Precision, model: PaliGemma, image: Tensor, prompt: Tensor) -> Calibration | None:
    """Return statistics of the linear layers' inputs for this image and prompt, for methods that need them."""
    if precision.method is None or not precision.method.needs_calibration:
        return None
    with Recorder(model) as recorder:
        next(model.generate(image, prompt))
    return recorder.calibration()


def _common(tokens: list[int], reference: list[int]) -> int:
    """Return the number of leading tokens that equal the reference's."""
    pairs = enumerate(zip(tokens, reference, strict=False))
    return next((index for index, (one, other) in pairs if one != other), min(len(tokens), len(reference)))


def read_picture(path: Path, size: int) -> Tensor:
    """Return an image in the form of PaliGemma's processor: bicubic, (1, 3, size, size) in [-1, 1].

    Raises:
        UserError: the file is missing or not an image.
    """
    try:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))
    except FileNotFoundError:
        raise UserError(f"no picture at {path}") from None
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be read as a picture: {error}") from None
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255 * 2 - 1
