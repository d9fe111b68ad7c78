"""Handle of a model that other code has quantized in place; a snapshot brings the model back."""

from collections.abc import Iterator

from torch import Tensor, nn

from headless_eval.errors import UserError
from headless_eval.quant.changes import Change
from headless_eval.quant.handle import MARK, Handle
from headless_eval.quant.precision import EVERYTHING, Precision
from headless_eval.quant.snapshot import Snapshot


class ChangeHandle(Handle):
    """A model that a change has quantized.

    ``hooked`` has the modules that the change meant to quantize, ``fired`` those of which a parameter changed, and
    ``unfired`` those that it left as they were.

    Args:
        model: the model, at float32; it is as before if the change fails.
        precision: the precision that the change belongs to.
        change: the change.

    Raises:
        UserError: the change fails, or changes nothing.
    """

    def __init__(self, model: nn.Module, precision: Precision, change: Change) -> None:
        self._snapshot = Snapshot(model)
        super().__init__(model, precision)
        scope = precision.scope
        try:
            meant = change.apply(model, None if scope == EVERYTHING else scope.matches)
            changed = self._snapshot.changed(model)
            if meant and not changed:
                raise UserError(
                    f"{change.text} left all {len(meant)} layers in scope as they are, such as {meant[0]}: it does not "
                    "suit their sizes"
                )
            if not changed and not self._snapshot.differs(ignoring=MARK):
                part = (
                    "" if scope == EVERYTHING else f": the scope '{scope}' matches no module that it changes"
                )
                raise UserError(f"{change.text} changed nothing in the {type(model).__name__}{part}")
        except BaseException:
            self.restore()
            raise
        self._snapshot.forget_unreachable(model)
        self._parameters = {id(parameter): parameter for _, parameter in changed}
        modules = dict.fromkeys(name.rpartition(".")[0] for name, _ in changed)
        self._fired.update(modules)
        self.hooked = tuple(dict.fromkeys([*meant, *modules]))

    @property
    def needs_modules(self) -> bool:
        """Return True: what other code has changed shows in the modules alone."""
        return True

    @property
    def num_parameters(self) -> int:
        """Return how many parameter tensors were replaced or got other values."""
        return len(self._parameters)

    @property
    def num_elements(self) -> int:
        """Return how many numbers these tensors held."""
        return sum(parameter.numel() for parameter in self._parameters.values())

    @property
    def num_bytes(self) -> int:
        """Return the size of the copies kept for restoring, in bytes."""
        return self._snapshot.num_bytes

    def state(self, model: nn.Module) -> Iterator[tuple[str, Tensor]]:
        """Yield the model's unquantized tensors by name."""
        return self._snapshot.state()

    def effective_parameters(self, model: nn.Module) -> Iterator[tuple[str, Tensor]]:
        """Yield the model's present parameters by name; values of quantized tensors as floating-point numbers."""
        for name, parameter in model.named_parameters():
            if type(parameter.data) is not Tensor and hasattr(parameter, "dequantize"):
                yield name, parameter.dequantize()
            else:
                yield name, parameter

    def restore(self) -> None:
        """Bring back the model as it was, to the last bit. A second call does nothing."""
        if self._active:
            self._snapshot.restore()
            self._active = False
