"""Norms that compute in float32, in whichever dtype their weights are kept."""

import torch
from torch import Tensor, nn

__all__ = ["ZeroCentredNorm", "widen_norms"]

_KIND = "Krea2RMSNorm"


class ZeroCentredNorm(nn.Module):
    """Root mean square norm (arXiv 1910.07467) whose weights are kept less 1.

    In bfloat16 one and a small number together are rounded far more than the number alone.
    """

    def __init__(self, weight: nn.Parameter, eps: float) -> None:
        super().__init__()
        self.weight = weight
        self.eps = eps

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Of the last dimension; in the input's dtype."""
        weight = self.weight.float() + 1
        found = torch.nn.functional.rms_norm(hidden_states.float(), weight.shape, weight, self.eps)
        return found.to(hidden_states.dtype)


def widen_norms(network: nn.Module) -> None:
    """Put such norms in the place of diffusers', which add in the dtype of their weights."""
    found = [(name, one) for name, one in network.named_modules() if type(one).__name__ == _KIND]
    for name, one in found:
        network.set_submodule(name, ZeroCentredNorm(one.weight, one.eps))
