"""Everything that was learned, as adapters of one rank."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clora_ext.errors import UsageError
from clora_ext.events import FoldStep, Sink, Stage

from .factors import Factors
from .linalg import leading_factors, square_sum
from .sites import Target

__all__ = ["Extracted", "extract"]


@dataclass(frozen=True, slots=True)
class Extracted:
    """What was learned since the base, as adapters.

    Attributes:
        layers: an adapter for every layer that has changed.
        captured: share of the change's squared norm that they hold, in [0, 1]; 1 if nothing has changed.
    """

    layers: Mapping[Target, Factors]
    captured: float


def extract(
    targets: Sequence[Target], change_of: Callable[[Target], Tensor], rank: int, sink: Sink
) -> Extracted:
    """The adapters of a given rank that come closest to everything learned since the base.

    A randomised singular value decomposition of W - W0, layer by layer, with a fixed seed.

    Args:
        targets: the layers that may have changed.
        change_of: gives a layer's change, (out, in), float32; asked once for each layer.
        rank: of every adapter, or less where the layer is smaller.
        sink: told of every layer; may raise to stop.

    Raises:
        UsageError: the rank is below 1.
    """
    if rank < 1:
        raise UsageError(f"rank must be at least 1, not {rank}", fix="choose 64, for example")
    sink(Stage("extract", f"rank {rank} of {len(targets)} layers"))
    layers: dict[Target, Factors] = {}
    whole = held = 0.0
    for index, target in enumerate(targets):
        change = change_of(target)
        energy = square_sum(change)
        if energy:
            rng = torch.Generator().manual_seed(index)
            layers[target], share = leading_factors(change, rank, rng)
            whole, held = whole + energy, held + share * energy
        sink(FoldStep(index + 1, len(targets), target.name))
    return Extracted(layers, held / whole if whole else 1.0)
