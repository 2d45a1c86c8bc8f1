"""What a transformer of flow matching holds in memory beside its weights. Needs no torch.

A sum over its main layers with factors that were counted: docs/estimates.md says how.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

from clora_ext.config.settings import TargetSet
from clora_ext.families.step_shape import StepShape

__all__ = ["copied_numbers", "training_bytes"]

_FLOAT = 4
_HALF = 2
_PADDED = 32  # tokens of pictures and texts are filled up to a multiple

# By layers taught and bytes of a number, for each number that a layer gives: what every layer keeps, and what
# the rest of the network does. Recomputed, a layer keeps its input alone, and one is whole at a time.
_KEPT: Mapping[tuple[TargetSet, int], tuple[float, float]] = {
    ("attention", _FLOAT): (19.2, 8.2),
    ("attention", _HALF): (34.5, 8.1),
    ("transformer", _FLOAT): (23.0, 6.0),
    ("transformer", _HALF): (39.5, 9.0),
}
_RECOMPUTED: Mapping[tuple[TargetSet, int], float] = {
    ("attention", _FLOAT): 27.2,
    ("attention", _HALF): 44.2,
    ("transformer", _FLOAT): 28.8,
    ("transformer", _HALF): 50.2,
}


def training_bytes(config: Mapping[str, Any], step: StepShape) -> int | None:
    """Bytes of a training step beside weights, adapters and optimiser, at their most.

    Args:
        config: see :data:`clora_ext.families.flow.layout.Config`; with a VAE.
        step: what is trained, and on what.

    None: nobody has counted magnitudes (DoRA) here.
    """
    if step.magnitudes:
        return None
    width = _HALF if step.is_half else _FLOAT
    layers = int(config["transformer"]["n_layers"])
    numbers = _tokens(config, step.size) * int(config["transformer"]["dim"])
    if step.recompute:
        factor = layers + _RECOMPUTED[step.targets, width]
    else:
        each, rest = _KEPT[step.targets, width]
        factor = layers * each + rest
    return int(factor * numbers * step.pictures * width)


def _tokens(config: Mapping[str, Any], size: tuple[int, int]) -> int:
    """Of one picture of (width, height) pixels and the longest text that is read."""
    side = config["patch"] * 2 ** (len(config["vae"]["block_out_channels"]) - 1)
    picture, text = size[0] * size[1] // side**2, int(config["text"]["longest"])
    return sum(-(-count // _PADDED) * _PADDED for count in (picture, text))


def copied_numbers(shapes: Mapping[str, tuple[int, ...]], *, recompute: bool) -> int:
    """Numbers of weights that have a wide copy at the worst moment of a step whose weights are in 8 bits.

    A layer's wide copy lives until its gradient is known: that of all main layers, or of the one that is
    computed again. No gradient flows through the others.

    Args:
        shapes: of the transformer's tensors by their names inside.
        recompute: whether activations are computed twice.

    >>> shapes = {"layers.0.a.weight": (4, 2), "layers.1.a.weight": (3, 2), "x_embedder.weight": (9, 9)}
    >>> copied_numbers(shapes, recompute=True), copied_numbers(shapes, recompute=False)
    (8, 14)
    """
    blocks: dict[str, int] = {}
    for name, shape in shapes.items():
        stack, _, rest = name.partition(".")
        if stack == "layers" and len(shape) > 1:
            block = rest.partition(".")[0]
            blocks[block] = blocks.get(block, 0) + prod(shape)
    return (max if recompute else sum)(blocks.values()) if blocks else 0
