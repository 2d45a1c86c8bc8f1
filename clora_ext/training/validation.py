"""The error on pictures that are held out, now and then while a training goes on; and the best adapter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from clora_ext.config.precision import Precision
from clora_ext.families.model import Model
from clora_ext.strategies.objective import Example

from .held_out import held_out_losses

__all__ = ["Validation"]

_BEST = "validation.best."


@dataclass
class Validation:
    """What is asked, and what was answered so far.

    Noise and times of each draw are always the same, so that the losses of two steps differ by the adapter
    alone. Nothing of the training changes by it.

    Attributes:
        examples: what each draw shows.
        every: steps from one validation to the next; the last step has one in any case.
        at_once: pictures of one size that are predicted together.
        keep_best: whether the adapter with the smallest loss is taken at the end.
        losses: mean over the draws, by step (from 1).
        best: its step and values by name; None: nothing was asked yet, or the last adapter is taken.
    """

    examples: Sequence[Example]
    every: int
    at_once: int
    keep_best: bool
    name: ClassVar[str] = "validation"
    losses: dict[int, float] = field(default_factory=dict)
    best: tuple[int, dict[str, Tensor]] | None = None

    def is_due(self, step: int, steps: int) -> bool:
        """Whether it is asked after a step (from 1) of so many."""
        return step % self.every == 0 or step == steps

    def ask(
        self, step: int, model: Model, precision: Precision, parameters: Mapping[str, nn.Parameter]
    ) -> float:
        """The loss after a step; the adapter is remembered if it is the best so far."""
        losses = held_out_losses(model, self.examples, self.at_once, precision)
        self.losses[step] = loss = sum(losses) / len(losses)
        if self.keep_best and loss == min(self.losses.values()):
            self.best = (step, {name: one.detach().cpu().clone() for name, one in parameters.items()})
        return loss

    def take_best(self, parameters: Mapping[str, nn.Parameter]) -> int | None:
        """Put the best adapter in the place of the last; gives its step, None if nothing has changed."""
        if self.best is None or self.best[0] == max(self.losses):
            return None
        step, values = self.best
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(values[name])
        return step

    def stored(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What a stopped training keeps of it: tensors by name, and plain values."""
        step, values = self.best or (0, {})
        told = {"losses": [[number, loss] for number, loss in self.losses.items()], "best": step}
        return {f"{_BEST}{name}": value for name, value in values.items()}, told

    def restore(self, told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`stored` gave.

        Raises:
            KeyError, TypeError, ValueError: it gave something else.
        """
        self.losses = {int(number): float(loss) for number, loss in told["losses"]}
        values = {name.removeprefix(_BEST): one for name, one in tensors.items() if name.startswith(_BEST)}
        self.best = (int(told["best"]), values) if values else None
