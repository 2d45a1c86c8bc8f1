"""Magnitudes of a layer's outputs, trained beside its LoRA (DoRA, arXiv 2402.09353), as peft has them.

A layer's weight is m * V / norm(V), V = W + alpha / rank * up @ down, with a magnitude and a norm for each
output. Gradients do not flow through the norm (section 4.3 of the paper). The magnitudes begin as the norms,
so that training starts at exactly the weight.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, autocast, nn
from torch.utils.checkpoint import checkpoint

from clora_ext.adapters.decomposed import TrainedDecomposition
from clora_ext.adapters.factors import Factors

__all__ = ["Decomposing", "Magnitudes"]

# Below it a row has no direction that float32 could tell: what would divide by its norm is divided by this.
_LEAST_NORM = torch.finfo(torch.float32).eps


@contextmanager
def _exactly(device: torch.device) -> Iterator[None]:
    """While it is entered, float32 stays float32, and nothing is remembered for gradients."""
    with torch.no_grad(), autocast(device.type, enabled=False):
        yield


def _norms(weight: Tensor, down: Tensor, up: Tensor, scaling: float) -> Tensor:
    """Of the rows of weight + scaling * up @ down, (out,), float32; each with whatever axes a kernel has."""
    with _exactly(weight.device):
        product = up.flatten(1).float() @ down.flatten(1).float()
        norms: Tensor = torch.linalg.vector_norm(weight.flatten(1).float() + scaling * product, dim=1)
        return norms.clamp_min_(_LEAST_NORM)


class Decomposing(nn.Module):
    """What peft calls in a layer with a DoRA, in the place of its own.

    peft's keeps two tensors of the size of the layer's output for the gradients, and takes up @ down for the
    norm by sending the identity matrix through both halves: as large as the input squared, in the precision
    that the step computes in, by way of what dropout leaves out. This one keeps one tensor, and the norm is
    that of the whole weight in float32.

    Args:
        base: the frozen layer, linear or a convolution.
        magnitude: (out,), float32.
    """

    def __init__(self, base: nn.Module, magnitude: Tensor) -> None:
        super().__init__()
        # As peft shapes it: along the axis of the outputs.
        self._axes = (1, -1, 1, 1) if isinstance(base, nn.Conv2d) else (-1,)
        self.weight = nn.Parameter(magnitude.reshape(self._axes).clone())

    def forward(
        self,
        x: Tensor,
        *,
        lora_A: nn.Module,  # noqa: N803 - peft's name
        lora_B: nn.Module,  # noqa: N803 - peft's name
        scaling: float,
        base_layer: nn.Module,
        base_result: Tensor,
        adapter_name: str,
    ) -> Tensor:
        """What is added to what the frozen layer gives.

        Args:
            x: what the layer reads.
            lora_A: the down half.
            lora_B: the up half.
            scaling: alpha / rank.
            base_layer: the frozen layer.
            base_result: what it gives.
            adapter_name: nothing depends on it.
        """
        del adapter_name
        down, up = lora_A.get_parameter("weight"), lora_B.get_parameter("weight")
        norms = _norms(base_layer.get_parameter("weight"), down, up, scaling)
        growth = self.weight / norms.view(self._axes) - 1
        change: Tensor = lora_B(lora_A(x)) * scaling
        bias: Tensor | None = base_layer.bias  # type: ignore[assignment]  # of both kinds of layers
        plain = base_result if bias is None else base_result - bias.view(self._axes)
        # m / norm * (plain + change) - plain; where nothing has been learned, exactly 0.
        return growth * (plain + change) + change


@dataclass(frozen=True, slots=True)
class Magnitudes:
    """Those of one layer.

    Attributes:
        parameter: as peft shapes them: (out,), or (1, out, 1, 1) of a convolution.
        began: what they were before the training.
        computes: what peft calls with them.
        frozen: the weight that is trained over, (out, ...).
        started: what the layer's factors were when they began as the norms; None: a change of nothing.
    """

    parameter: nn.Parameter
    began: Tensor
    computes: Decomposing
    frozen: Tensor
    started: Factors | None

    @classmethod
    def of(cls, layer: BaseTunerLayer, adapter: str, started: Factors) -> "Magnitudes":
        """Give them to a layer into which peft has put an adapter with ``use_dora``.

        Args:
            layer: peft's; its factors have the values that training starts from.
            adapter: its name there.
            started: those values.
        """
        inside: Any = layer  # its containers have no types
        base, down, up = layer.get_base_layer(), inside.lora_A[adapter].weight, inside.lora_B[adapter].weight
        frozen = base.get_parameter("weight").detach()
        computes = Decomposing(base, _norms(frozen, down, up, inside.scaling[adapter]))
        inside.lora_magnitude_vector[adapter] = computes
        changes = bool(started.up.any())
        began = computes.weight.detach().clone()
        return cls(computes.weight, began, computes, frozen, started if changes else None)

    def learned(self, factors: Factors) -> TrainedDecomposition:
        """What they are beside the layer's factors, on the processor."""
        now, before = (one.detach().flatten().double().cpu() for one in (self.parameter, self.began))
        return TrainedDecomposition(factors, now - before, self.started)

    def change(self, factors: Factors) -> Tensor:
        """The change of the layer's weight, (out, in), float32; gradients flow as in the layer itself."""
        frozen = self.frozen.flatten(1).float()
        product = factors.scale * (factors.up @ factors.down)
        ratio = self.parameter.flatten() / _norms(frozen, factors.down, factors.up, factors.scale)
        return ratio.unsqueeze(1) * (frozen + product) - frozen

    def penalty(self, factors: Factors, of_change: Callable[[Tensor], Tensor | None]) -> Tensor | None:
        """What ``of_change`` asks for the change; it is computed again for its gradients, and not kept."""
        return checkpoint(  # type: ignore[no-any-return]  # torch's own
            lambda down, up: of_change(self.change(Factors(down, up, factors.alpha))),
            factors.down,
            factors.up,
            use_reentrant=False,
            preserve_rng_state=False,
        )
