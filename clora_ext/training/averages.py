"""What has been learned where that is an average of the steps, and not what the next step starts from."""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor, nn

__all__ = ["Average", "MovingAverage", "OptimizersOwn"]


class Average(Protocol):
    """An average of parameters."""

    def show(self) -> None:
        """Let the parameters be the average."""
        ...

    def hide(self) -> None:
        """The parameters will be given back what they were; from now on they are trained again."""
        ...


class OptimizersOwn:
    """What a schedule-free optimiser (arXiv 2405.15682) averages by itself, and keeps itself.

    Args:
        optimizer: with its modes ``train`` and ``eval``.
    """

    def __init__(self, optimizer: Any) -> None:  # noqa: ANN401 - of several libraries
        self._optimizer = optimizer
        self.hide()

    def show(self) -> None:
        """As :class:`Average`."""
        self._optimizer.eval()

    def hide(self) -> None:
        """As :class:`Average`."""
        self._optimizer.train()


class MovingAverage:
    """The exponential moving average of what the steps leave (EMA), as diffusers' ``EMAModel`` has it.

    At first it follows faster: it keeps n / (9 + n) of itself in step n at the most, nothing in the first.

    Args:
        parameters: by name.
        decay: what it keeps of itself in a step.
    """

    name = "average"

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._parameters = parameters
        self._decay = decay
        self._steps = 0
        self._average = {name: one.detach().clone() for name, one in parameters.items()}

    def step(self) -> None:
        """Take in what a step has left."""
        self._steps += 1
        kept = min(self._decay, self._steps / (9 + self._steps)) if self._steps > 1 else 0.0
        for name, parameter in self._parameters.items():
            self._average[name].lerp_(parameter.detach(), 1 - kept)

    def show(self) -> None:
        """As :class:`Average`."""
        for name, parameter in self._parameters.items():
            parameter.data.copy_(self._average[name])

    def hide(self) -> None:
        """As :class:`Average`; nothing is to be done."""

    def stored(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What a stopped training keeps of it: tensors by name, and plain values."""
        return {f"{self.name}.{name}": one for name, one in self._average.items()}, {"steps": self._steps}

    def restore(self, told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`stored` gave.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: it gave something else.
        """
        for name, kept in self._average.items():
            kept.copy_(tensors[f"{self.name}.{name}"])
        self._steps = int(told["steps"])
