"""Weights that are kept in 8 bits or in the machine's memory, and copied for a layer while it computes.

Not diffusers' layerwise casting and group offloading, which give a layer's own tensor other values behind its
pass forward: a frozen layer keeps that very tensor for the gradient of its input.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["NARROW", "offload", "store_narrowly"]

NARROW = torch.float8_e4m3fn
"""What weights are rounded to: 3 bits behind the point, up to 448."""


def store_narrowly(network: nn.Module, device: torch.device, wide: torch.dtype) -> None:
    """Round the weights of linear layers and convolutions, in place; biases and norms stay as they are.

    Args:
        network: frozen.
        device: where its layers compute.
        wide: what they compute with.
    """
    for module in _layers(network):
        narrow = _stored(module, device, wide).to(NARROW)
        _store(module, _waiting(narrow, device) if narrow.is_cpu else narrow)


def offload(network: nn.Module, device: torch.device, wide: torch.dtype) -> None:
    """Keep these weights on the processor, in place, and have all others where the layers compute.

    Args:
        network: frozen, on the processor.
        device: where its layers compute.
        wide: what they compute with.
    """
    kept = {module: _stored(module, device, wide) for module in _layers(network)}
    for module in kept:
        _store(module, torch.empty(0, device="cpu"))
    network.to(device)
    for module, weight in kept.items():
        _store(module, _waiting(weight, device))


def _layers(network: nn.Module) -> Iterator[nn.Module]:
    """Those with nearly all of the network's weights."""
    for module in list(network.modules()):
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            yield module


def _stored(layer: Any, device: torch.device, wide: torch.dtype) -> Tensor:  # noqa: ANN401 - of any of the two kinds
    """What a layer's weight is copied from; from now on it is."""
    if not isinstance(layer, _CopiedWeight):
        weight = layer.weight
        del layer.weight
        layer.__class__ = _copied(type(layer))
        layer.stored = weight
        layer.place = (device, wide)
    found: Tensor = layer.stored.data
    return found


def _store(module: nn.Module, weight: Tensor) -> None:
    """Copy a layer's weight from another place, of any dtype."""
    module.stored = nn.Parameter(weight, requires_grad=False)


def _waiting(weight: Tensor, device: torch.device) -> Tensor:
    """Where a GPU can copy it from while the processor goes on."""
    return weight.pin_memory() if device.type == "cuda" else weight


class _CopiedWeight(nn.Module):
    """A layer whose weight is made anew whenever it is asked for.

    Not torch's parametrization: that gives each layer a class of its own, and what is compiled for one layer
    would not fit the next.

    Attributes:
        stored: what it is made from.
        place: where it is made, and of which dtype.
    """

    stored: nn.Parameter
    place: tuple[torch.device, torch.dtype]

    @property
    def weight(self) -> Tensor:
        """As the layer sees it."""
        device, dtype = self.place
        return self.stored.to(device, non_blocking=True).to(dtype)


_KINDS: dict[type[nn.Module], type[nn.Module]] = {}


def _copied(kind: type[nn.Module]) -> type[nn.Module]:
    """The same kind of layer with such a weight; one class for all of them."""
    if kind not in _KINDS:
        _KINDS[kind] = type(f"Copied{kind.__name__}", (_CopiedWeight, kind), {})
    return _KINDS[kind]
