"""Whether a training has come to rest: the error on its pictures, with noises and times that never change.

A step's own loss says little, since noise and times are others in each; with both held fixed the error falls
as long as anything is learned (DVAR, arXiv 2302.04841, which compares variances: those of a slow, steady fall
are soon small beside that of the whole, so here the fall itself is compared).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar

from clora_ext.config.precision import Precision
from clora_ext.families.model import Model
from clora_ext.strategies.objective import Example

from .held_out import held_out_losses

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Convergence"]

_OFTEN = 40  # times in a whole training
_HALF = 4  # the last so many answers, and as many before them, are compared
_OF_ALL = 0.01  # of the whole fall so far: a smaller one between both halves is none
_OF_ERROR = 1e-4  # likewise of the error, which is what rounding does


@dataclass
class Convergence:
    """What was asked so far.

    Attributes:
        examples: what each draw shows.
        at_once: pictures of one size that are predicted together.
        steps: of the whole training.
        warmup: steps, while which the rate rises and nothing has come to rest.
        losses: mean over the draws, by step (from 1).
    """

    examples: Sequence[Example]
    at_once: int
    steps: int
    warmup: int
    name: ClassVar[str] = "convergence"
    losses: dict[int, float] = field(default_factory=dict)

    @property
    def every(self) -> int:
        """Steps from one question to the next."""
        return max(1, self.steps // _OFTEN)

    def is_due(self, step: int) -> bool:
        """Whether it is asked after so many steps."""
        return step > 0 and step % self.every == 0

    def ask(self, step: int, model: Model, precision: Precision) -> None:
        """Remember the error after so many steps; a run that goes on may know it already."""
        if step in self.losses:
            return
        losses = held_out_losses(model, self.examples, self.at_once, precision)
        self.losses[step] = sum(losses) / len(losses)

    @property
    def is_reached(self) -> bool:
        """Whether the last answers are hardly below those before, by how far all of them lie apart."""
        values = [loss for step, loss in self.losses.items() if step > self.warmup]
        if len(values) <= 2 * _HALF:
            return False
        before, last = fmean(values[-2 * _HALF : -_HALF]), fmean(values[-_HALF:])
        fallen = max(self.losses.values()) - min(self.losses.values())
        return before - last <= max(_OF_ALL * fallen, _OF_ERROR * abs(last))

    def stored(self) -> "tuple[dict[str, Tensor], dict[str, Any]]":
        """What a stopped training keeps of it: no tensors, and plain values."""
        return {}, {"losses": [[number, loss] for number, loss in self.losses.items()]}

    def restore(self, told: Mapping[str, Any], tensors: "Mapping[str, Tensor]") -> None:
        """Take up what :meth:`stored` gave.

        Raises:
            KeyError, TypeError, ValueError: it gave something else.
        """
        self.losses = {int(number): float(loss) for number, loss in told["losses"]}
