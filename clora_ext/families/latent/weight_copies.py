"""Which weights have a copy at once in a training step that keeps them otherwise. Needs no torch."""

import re
from collections import Counter
from collections.abc import Mapping
from math import prod

__all__ = ["copied_numbers"]

_RECOMPUTED = re.compile(
    r".*\.transformer_blocks\.\d+\.|.*\.(?=(?:in_layers|out_layers|emb_layers|skip_connection)\.)"
)
"""Blocks whose activations gradient checkpointing computes again, one at a time, in a checkpoint's names."""


def copied_numbers(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Numbers of a UNet's weights that have a copy at the worst moment.

    A layer's copy lives until its gradient is known: outside of recomputed blocks from the pass forward,
    inside only while that block is computed again.

    Args:
        shapes: of the UNet's tensors by their names in a checkpoint.

    >>> shapes = {"a.1.transformer_blocks.0.ff.weight": (4, 2), "a.1.transformer_blocks.1.ff.weight": (3, 2)}
    >>> copied_numbers({**shapes, "a.1.proj_in.weight": (2, 2), "b.0.in_layers.2.weight": (1, 2, 3, 3)})
    22
    """
    outside, blocks = 0, Counter[str]()
    for name, shape in shapes.items():
        block = _RECOMPUTED.match(name)
        if block is None:
            outside += prod(shape)
        else:
            blocks[block[0]] += prod(shape)
    return outside + max(blocks.values(), default=0)
