"""What a transformer of flow matching holds in memory beside its weights. Needs no torch.

A sum over its main layers with factors that were counted: docs/estimates.md says how.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from clora_ext.families.step_shape import StepShape

__all__ = ["copied_numbers", "training_bytes"]

_FLOAT = 4
_HALF = 2
_PADDED = 32  # tokens of pictures and texts are filled up to a multiple


def training_bytes(config: Mapping[str, Any], step: StepShape, place: int) -> int | None:
    """Bytes of a training step beside weights, adapters and optimiser, at their most.

    Of the family's factors, by layers taught and width of a number, each is for a number that a block gives:
    ``kept`` are those of each stack's blocks, and of the rest of the network; ``recomputed``, where a block
    keeps its input alone, that of the one that is whole at a time.

    ``text_share``, where the blocks only look at a text's states: what each is for, as a part of what a token
    of the picture is.

    Args:
        config: see :data:`clora_ext.families.flow.kinds.Config`.
        step: what is trained, and on what.
        place: pixels along a side of what the transformer sees as one token.

    None: nobody has counted magnitudes (DoRA) here.
    """
    if step.magnitudes:
        return None
    width, kind = (_HALF, "half") if step.is_half else (_FLOAT, "float")
    numbers = _tokens(config, step.size, place) * int(config["width"])
    if step.recompute:
        factor = sum(config["depths"]) + config["activations"]["recomputed"][step.targets][kind]
    else:
        each, rest = config["activations"]["kept"][step.targets][kind]
        factor = sum(count * one for count, one in zip(config["depths"], each, strict=True)) + rest
    return int(factor * numbers * step.pictures * width)


def _tokens(config: Mapping[str, Any], size: tuple[int, int], place: int) -> int:
    """Of one picture of (width, height) pixels and the longest text that is read."""
    picture, text = size[0] * size[1] // place**2, int(config["text"]["longest"])
    share = config["activations"].get("text_share")
    if share is not None:
        return picture + int(share * text)
    return sum(-(-count // _PADDED) * _PADDED for count in (picture, text))


def copied_numbers(shapes: Mapping[str, tuple[int, ...]], stacks: Sequence[str], *, recompute: bool) -> int:
    """Numbers of weights that have a wide copy at the worst moment of a step whose weights are in 8 bits.

    A layer's wide copy lives until its gradient is known: that of all main layers, or of the one that is
    computed again. No gradient flows through the others.

    Args:
        shapes: of the transformer's tensors by their names inside.
        stacks: of its blocks.
        recompute: whether activations are computed twice.

    >>> shapes = {"layers.0.a.weight": (4, 2), "layers.1.a.weight": (3, 2), "x_embedder.weight": (9, 9)}
    >>> [copied_numbers(shapes, ["layers"], recompute=again) for again in (True, False)]
    [8, 14]
    """
    blocks: dict[tuple[str, str], int] = {}
    for name, shape in shapes.items():
        stack, _, rest = name.partition(".")
        if stack in stacks and len(shape) > 1:
            block = stack, rest.partition(".")[0]
            blocks[block] = blocks.get(block, 0) + prod(shape)
    return (max if recompute else sum)(blocks.values()) if blocks else 0
