"""Weights that are kept in 8 bits or in the machine's memory, and copied for a layer while it computes.

Not diffusers' layerwise casting and group offloading, which give a layer's own tensor other values behind its
pass forward: a frozen layer keeps that very tensor for the gradient of its input.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, register_parametrization

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


def _stored(module: nn.Module, device: torch.device, wide: torch.dtype) -> Tensor:
    """What a layer's weight is copied from; from now on it is."""
    if not is_parametrized(module, "weight"):
        # unsafe: not checked to be of the dtype that is stored
        register_parametrization(module, "weight", _Copied(device, wide), unsafe=True)
    stored: nn.Parameter = module.parametrizations["weight"].original  # type: ignore[index,union-attr]
    return stored.data


def _store(module: nn.Module, weight: Tensor) -> None:
    """Copy a layer's weight from another place, of any dtype."""
    module.parametrizations["weight"].original = nn.Parameter(weight, requires_grad=False)  # type: ignore[index,union-attr]


def _waiting(weight: Tensor, device: torch.device) -> Tensor:
    """Where a GPU can copy it from while the processor goes on."""
    return weight.pin_memory() if device.type == "cuda" else weight


class _Copied(nn.Module):
    """A weight as a layer sees it."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        self._device = device
        self._dtype = dtype

    def forward(self, stored: Tensor) -> Tensor:
        return stored.to(self._device, non_blocking=True).to(self._dtype)
