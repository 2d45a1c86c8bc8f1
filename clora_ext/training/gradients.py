"""How much a trained concept's error depends on each weight: squared gradients, after the training."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from clora_ext.adapters.sites import Target
from clora_ext.adapters.squared_gradients import SquaredGradients
from clora_ext.families.model import Model

from .objective import DenoisingObjective
from .statistics import input_rows
from .training import Training

__all__ = ["squared_gradients"]

_SCALE = 1024.0  # of the loss: float16 ends at 6e-8; a power of two changes no other number


def squared_gradients(
    training: Training, targets: Sequence[Target], draws: int
) -> dict[str, SquaredGradients]:
    """E[(dL/dW)^2] of the denoising error by every layer's whole weight, at W = frozen + delta.

    Every draw is one picture with noise and time of its own, that no step was trained with: its square is
    that of a gradient alone, not of a batch's mean.

    Args:
        training: finished; its adapters are inside the model.
        targets: the layers.
        draws: how many; none: nothing is measured.

    Returns:
        By :attr:`Target.name`, on the processor.
    """
    if not draws:
        return {}
    device = training.precision.device
    sums = {target.name: SquaredGradients.none(target.shape).to(device) for target in targets}
    objective, parameters = DenoisingObjective(), list(training.adapters.parameters.values())
    first = training.settings.batches
    for draw in range(draws):
        example = training.examples[draw % len(training.examples)]
        with _gradients(training.model, targets) as found, training.precision.autocast():
            loss = objective.loss(training.model, [example], training.settings.seed, first + draw, device)
            torch.autograd.grad(loss * _SCALE, parameters)
        for name, gradient in found.items():
            sums[name] = sums[name].plus(SquaredGradients.of(gradient / _SCALE))
    return {name: total.times(1 / draws).to(torch.device("cpu")) for name, total in sums.items()}


@contextmanager
def _gradients(model: Model, targets: Sequence[Target]) -> Iterator[Mapping[str, Tensor]]:
    """While it is entered, a backward pass leaves the gradient of every layer's weight, (out, in), here."""
    found: dict[str, Tensor] = {}
    handles = []
    for target in targets:
        component, path = model.locate(target)
        module = component.get_submodule(path)
        handles.append(module.register_forward_hook(_watcher(target.name, found)))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _watcher(name: str, found: dict[str, Tensor]) -> Callable[[nn.Module, tuple[Any, ...], Tensor], None]:
    """A hook of a module that waits for the gradient of its output."""

    def watch(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
        inputs = arguments[0].detach()

        def add(gradient: Tensor) -> None:
            read = input_rows(module, inputs.float())
            through = gradient.float()
            through = through.flatten(2).transpose(1, 2) if through.dim() == 4 else through  # noqa: PLR2004
            found[name] = found.get(name, 0) + through.flatten(0, -2).T @ read

        if output.requires_grad:  # not in a pass that is taken again for its activations
            output.register_hook(add)  # type: ignore[no-untyped-call]  # of torch's Tensor

    return watch
