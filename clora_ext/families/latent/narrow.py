"""Weights that are kept in 8 bits and widened for a layer while it computes."""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

__all__ = ["NARROW", "store_narrowly"]

NARROW = torch.float8_e4m3fn
"""What weights are rounded to: 3 bits behind the point, up to 448."""


def store_narrowly(network: nn.Module, wide: torch.dtype) -> None:
    """Round the weights of linear layers and convolutions, in place; biases and norms stay as they are.

    Not diffusers' layerwise casting, which narrows a layer's own tensor again behind its pass forward: a
    convolution keeps that very tensor for its gradient.

    Args:
        network: frozen.
        wide: what its layers compute with.
    """
    for module in list(network.modules()):
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            module.weight.data = module.weight.data.to(NARROW)
            # unsafe: not checked to be of the dtype that is stored
            register_parametrization(module, "weight", _Widened(wide), unsafe=True)


class _Widened(nn.Module):
    """A weight as a layer sees it."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def forward(self, stored: Tensor) -> Tensor:
        return stored.to(self._dtype)
