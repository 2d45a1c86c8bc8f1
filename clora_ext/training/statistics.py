"""What a model's layers read while it samples: the second moments of their inputs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import unfold

from clora_ext.adapters.sites import Target
from clora_ext.families.base import Model

__all__ = ["input_moments", "input_rows"]


def input_moments(
    model: Model, targets: Sequence[Target], prompts: Sequence[str], sample: Callable[[str], object]
) -> dict[str, Tensor]:
    """E[x x^T] of the layers' inputs over everything that they read while prompts are sampled.

    Args:
        model: with or without adapters inside.
        targets: the layers to measure.
        prompts: no prompts: nothing is measured.
        sample: samples one prompt with ``model``.

    Returns:
        By :attr:`Target.name`: (in, in), float32, on the processor; of a convolution's unfolded input.
    """
    if not prompts:
        return {}
    with _measuring(model, targets) as moments:
        for prompt in prompts:
            sample(prompt)
    return {name: moment.mean() for name, moment in moments.items()}


@dataclass(slots=True)
class _Moment:
    """The sum of x x^T over the inputs seen so far."""

    count: int = 0
    total: Tensor = field(default_factory=lambda: torch.zeros(()))

    def add(self, inputs: Tensor) -> None:
        """Count rows of inputs, (n, in)."""
        self.total = self.total + (inputs.T @ inputs).cpu()
        self.count += inputs.shape[0]

    def mean(self) -> Tensor:
        """(in, in)."""
        return self.total / max(1, self.count)


@contextmanager
def _measuring(model: Model, targets: Sequence[Target]) -> Iterator[Mapping[str, _Moment]]:
    """While it is entered, every input of the layers is counted."""
    moments = {target.name: _Moment() for target in targets}
    handles = []
    for target in targets:
        component, path = model.locate(target)
        module = component.get_submodule(path)
        handles.append(module.register_forward_pre_hook(_counter(moments[target.name])))
    try:
        yield moments
    finally:
        for handle in handles:
            handle.remove()


def _counter(moment: _Moment) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    """A hook that counts a module's inputs."""

    def count(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        moment.add(input_rows(module, arguments[0].detach().float()))

    return count


def input_rows(module: nn.Module, inputs: Tensor) -> Tensor:
    """The inputs as the layer's weight, seen as a matrix, meets them: (n, in)."""
    layer = getattr(module, "base_layer", module)  # peft's wrapper keeps the layer there
    if isinstance(layer, nn.Conv2d):
        assert not isinstance(layer.padding, str)  # no family pads by a word  # noqa: S101
        patches = unfold(inputs, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
        return patches.transpose(1, 2).flatten(0, 1)
    return inputs.flatten(0, -2)
