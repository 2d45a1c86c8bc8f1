"""What a model's layers read while it samples: the second moments of their inputs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import unfold

from clora_ext.adapters.moments import Moment, MomentSum
from clora_ext.adapters.sites import Target
from clora_ext.families.model import Model

__all__ = ["input_moments", "input_rows"]


# One in so many readings is counted: a step of sampling differs little from the next, and to count all of
# them takes about as long as the network itself.
_EVERY = 3


def input_moments(
    model: Model,
    layers: Sequence[Target],
    prompts: Sequence[str],
    sample: Callable[[str], object],
    *,
    rounded: bool,
) -> dict[str, Moment]:
    """E[x x^T] of the layers' inputs over what they read while prompts are sampled, every third time.

    Layers that read the same input share its moment; where one of them reads, all do.

    Args:
        model: with or without adapters inside.
        layers: whose inputs to measure.
        prompts: no prompts: nothing is measured.
        sample: samples one prompt with ``model``.
        rounded: give them in bfloat16, as they are kept: half as large.

    Returns:
        By :attr:`Target.input_name`: (in, in), float32 or bfloat16, on the processor; of a convolution's
        unfolded input.
    """
    if not prompts or not layers:
        return {}
    with _measuring(model, layers) as counters:
        for prompt in prompts:
            sample(prompt)
    found = {}
    while counters:  # the sums are let go one by one: in float32 they are twice as large
        name, counter = counters.popitem()
        moment = counter.total.mean()
        if moment is not None:
            found[name] = moment.rounded() if rounded else moment
    return found


@contextmanager
def _measuring(model: Model, layers: Sequence[Target]) -> Iterator[dict[str, "_Counter"]]:
    """While it is entered, what the layers read is counted."""
    readers = {layer.input_name: layer for layer in layers}
    counters = {name: _Counter(MomentSum(layer.shape[1])) for name, layer in readers.items()}
    handles = []
    for name, layer in readers.items():
        component, path = model.locate(layer)
        handles.append(component.get_submodule(path).register_forward_pre_hook(counters[name]))
    try:
        yield counters
    finally:
        for handle in handles:
            handle.remove()


@dataclass(slots=True)
class _Counter:
    """A hook that counts a module's inputs."""

    total: MomentSum
    readings: int = 0

    def __call__(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        """Count one of :data:`_EVERY` readings, from the first on."""
        if self.readings % _EVERY == 0:
            self.total.add(input_rows(module, arguments[0].detach().float()))
        self.readings += 1


def input_rows(module: nn.Module, inputs: Tensor) -> Tensor:
    """The inputs as the layer's weight, seen as a matrix, meets them: (n, in)."""
    layer = getattr(module, "base_layer", module)  # peft's wrapper keeps the layer there
    if isinstance(layer, nn.Conv2d):
        assert not isinstance(layer.padding, str)  # no family pads by a word  # noqa: S101
        patches = unfold(inputs, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
        return patches.transpose(1, 2).flatten(0, 1)
    return inputs.flatten(0, -2)
