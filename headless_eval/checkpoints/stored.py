"""Loading of a model from stored parameters of any format; everything is checked before weights are read."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from headless_eval.checkpoints.sources import Index, StoredArray, arrays
from headless_eval.errors import UserError


@dataclass(frozen=True)
class Stored:
    """A parameter in a checkpoint, not yet read.

    Attributes:
        name: the parameter's name in the checkpoint.
        shape: the parameter's shape after reading.
        source: the array that contains the parameter.
        index: the index of the parameter along the array's first axes.
        transform: function that puts the axes in the model's order.
    """

    name: str
    shape: tuple[int, ...]
    source: StoredArray
    index: Index = ()
    transform: Callable[[Tensor], Tensor] = lambda part: part


def read_into(
    model: nn.Module,
    stored: Mapping[str, Stored],
    where: Path,
    device: torch.device,
    dtype: torch.dtype,
    their_name: Callable[[str], str],
) -> None:
    """Read stored parameters, by their names in the model, one after another into a model on the meta device.

    Args:
        model: the model, on the meta device.
        stored: the stored parameters by the model's names, in the order to read them.
        where: the checkpoint, for messages.
        device: the device that each parameter is read to.
        dtype: the parameters' type in the model.
        their_name: returns the format's name of a parameter that is missing in the checkpoint.

    Raises:
        UserError: parameters are missing, unexpected, of the wrong shape, integers or not finite.
    """
    check_fit(stored, model.state_dict(), where, their_name)
    state, finite = {}, {}
    for name, value in parameters(stored, device, dtype):
        state[name], finite[name] = value, value.isfinite().all()
    broken = [stored[name].name for name, value in finite.items() if not bool(value)]
    if broken:
        raise UserError(
            f"the weights in {where} hold NaN or infinity: {_some(broken)}; copy or convert them again"
        )
    model.load_state_dict(state, assign=True)
    model.eval()


def check_fit(
    stored: Mapping[str, Stored],
    wanted: Mapping[str, Tensor],
    where: Path,
    their_name: Callable[[str], str],
) -> None:
    """Check only names and shapes against a model's state; arguments and errors are those of ``read_into``."""
    missing = [their_name(name) for name in wanted if name not in stored]
    surplus = [of.name for name, of in stored.items() if name not in wanted]
    unequal = [
        f"{stored[name].name} is {stored[name].shape}, not {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in stored and stored[name].shape != tuple(tensor.shape)
    ]
    integers = [
        f"{stored[name].name} ({str(stored[name].source.dtype).removeprefix('torch.')})"
        for name in wanted
        if name in stored and not stored[name].source.dtype.is_floating_point
    ]
    kinds = {
        "missing": missing,
        "surplus": surplus,
        "mis-shaped": unequal,
        "no floating-point numbers": integers,
    }
    faults = [f"{what} {_some(names)}" for what, names in kinds.items() if names]
    if faults:
        raise UserError(
            f"the weights in {where} do not fit the configuration: {'; '.join(faults)}; name the configuration that "
            "they were trained with, or copy them again"
        )


def parameters(
    stored: Mapping[str, Stored], device: torch.device, dtype: torch.dtype
) -> Iterator[tuple[str, Tensor]]:
    """Read parameters onto a device, each array once.

    On a CPU they come in the order given, one array after another; on a GPU as they get there.
    """
    wanted: dict[StoredArray, dict[Index, list[str]]] = {}
    for name, of in stored.items():
        wanted.setdefault(of.source, {}).setdefault(of.index, []).append(name)
    for source, index, part in arrays(wanted, device):
        for name in wanted[source][index]:
            yield name, _own(stored[name].transform(part).to(dtype))
        del part  # before the next one comes


def _own(value: Tensor) -> Tensor:
    """Return a tensor that keeps only its own memory; the tensor that was read may be a view.

    A matrix on the CPU stays column by column if it is: that is how ``lay_out_for_cpu`` wants it.
    """
    keep = value.ndim == 2 and value.device.type == "cpu" and value.t().is_contiguous()
    if value.untyped_storage().nbytes() > value.nbytes:
        return value.clone(memory_format=torch.preserve_format if keep else torch.contiguous_format)
    return value if keep else value.contiguous()


def _some(names: list[str]) -> str:
    """Return the first few of many names, and how many there are."""
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown}, ... ({len(names)} in all)"
