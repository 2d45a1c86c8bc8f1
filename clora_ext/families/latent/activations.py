"""What a UNet, text encoders and a VAE hold in memory beside their weights. Needs no torch.

A sum over the network's levels with factors that were measured: docs/estimates.md says how, and how far off
it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clora_ext.config.settings import TargetSet
from clora_ext.families.step_shape import StepShape

__all__ = ["picture_bytes", "training_bytes", "vae_bytes"]

_FLOAT = 4
_HALF = 2
_VAE_FACTOR = 6.0  # of its first width, for each pixel
_TEXT_FACTORS = {_FLOAT: 22.0, _HALF: 27.0}  # for each number of a layer's output

# By layers taught and bytes of a number. Kept: for each number that a residual block gives, and for each that
# a transformer block gives. Recomputed: for each that a stack of transformer blocks gives, one of its
# blocks gives, and the largest stack gives once more, which is computed again at a time.
_KEPT: Mapping[tuple[TargetSet, int], tuple[float, float]] = {
    ("attention", _FLOAT): (13.0, 21.0),
    ("attention", _HALF): (13.5, 25.5),
    ("transformer", _FLOAT): (13.0, 26.5),
    ("transformer", _HALF): (16.0, 30.0),
}
_RECOMPUTED: Mapping[tuple[TargetSet, int], tuple[float, float, float]] = {
    ("attention", _FLOAT): (5.6, 0.53, 35.0),
    ("attention", _HALF): (5.8, 0.44, 39.0),
    ("transformer", _FLOAT): (5.0, 1.0, 41.5),
    ("transformer", _HALF): (7.5, 0.43, 50.0),
}
# By whether activations are recomputed, and bytes of a number: for each that a residual block gives, where
# these blocks are taught, too.
_CONVOLVED = {(False, _FLOAT): 1.3, (False, _HALF): 5.8, (True, _FLOAT): 0.8, (True, _HALF): 1.6}
# With magnitudes (DoRA), what every taught layer gives is kept once more: for each number that a transformer
# block gives and that a stack of them gives; recomputed, that the largest stack gives. And where residual
# blocks are taught, for each that they give.
_MAGNITUDES: Mapping[TargetSet, tuple[float, float, float]] = {
    "attention": (6.1, 0.0, 6.0),
    "transformer": (15.0, 2.0, 33.0),
}
_MAGNITUDES_CONVOLVED = {False: 3.1, True: 0.5}
# A weight with its change, and half of that again, in float32: for each number of the widest taught layer.
_WHOLE_WEIGHT = 1.5
_LAYERS_WITH_TOKENS: Mapping[TargetSet, int] = {"attention": 6, "transformer": 8}  # of a transformer block


def training_bytes(config: Mapping[str, Any], step: StepShape) -> int:
    """Bytes of a training step beside weights, adapters and optimiser, at their most.

    Args:
        config: see :data:`clora_ext.families.latent.layout.Config`.
        step: what is trained, and on what.
    """
    width = _HALF if step.is_half else _FLOAT
    levels = list(_levels(config, step.size))
    if step.recompute:
        stack, block, largest = _RECOMPUTED[step.targets, width]
        stacks = [level.numbers for level in levels if level.depth]
        numbers = stack * sum(stacks) + block * sum(level.in_blocks for level in levels)
        numbers += largest * max((level.area * level.width for level in levels if level.depth), default=0)
    else:
        residual, block = _KEPT[step.targets, width]
        numbers = sum(residual * level.numbers + block * level.in_blocks for level in levels)
        tokens = sum(level.area * level.blocks * level.depth for level in levels)
        numbers += step.rank * _LAYERS_WITH_TOKENS[step.targets] * tokens
    if step.convolutions:
        numbers += _CONVOLVED[step.recompute, width] * sum(level.numbers for level in levels)
    if step.magnitudes:
        numbers += _magnitude_numbers(levels, step)
    if step.text_encoders:
        numbers += _TEXT_FACTORS[width] * _text_numbers(config)
    whole = _WHOLE_WEIGHT * _FLOAT * _widest(levels, step) if step.magnitudes else 0
    return int(numbers * step.pictures * width + whole)


def _magnitude_numbers(levels: "Sequence[_Level]", step: StepShape) -> float:
    """That are kept for the magnitudes of one picture."""
    block, stack, largest = _MAGNITUDES[step.targets]
    crossed = [level for level in levels if level.depth]
    found = sum(block * level.in_blocks + stack * level.numbers for level in crossed)
    if step.recompute:
        found = largest * max((level.area * level.width for level in crossed), default=0)
    if step.convolutions:
        found += _MAGNITUDES_CONVOLVED[step.recompute] * sum(level.numbers for level in levels)
    return found


def _widest(levels: "Sequence[_Level]", step: StepShape) -> int:
    """Numbers of the largest weight that is taught: an MLP's, or a convolution's of two levels' channels."""
    crossed = max((level.width for level in levels if level.depth), default=0)
    convolved = max(level.width for level in levels) if step.convolutions else 0
    return max((8 if step.targets == "transformer" else 1) * crossed**2, 18 * convolved**2)


def picture_bytes(config: Mapping[str, Any], size: tuple[int, int]) -> int:
    """Bytes of the VAE in float32 beside its weights, for one picture of (width, height) pixels."""
    return vae_bytes(config["vae"]["block_out_channels"][0], size)


def vae_bytes(first: int, size: tuple[int, int], factor: float = _VAE_FACTOR) -> int:
    """The same of a VAE of ``first`` channels next to the pixels, which takes ``factor`` numbers for each."""
    return int(factor * size[0] * size[1] * first * _FLOAT)


@dataclass(frozen=True, slots=True)
class _Level:
    """The blocks of a UNet at one resolution, on the way down and up.

    Attributes:
        area: latent positions.
        width: channels.
        blocks: how many.
        depth: transformer blocks behind each of them.
    """

    area: int
    width: int
    blocks: int
    depth: int

    @property
    def numbers(self) -> int:
        """That its blocks give."""
        return self.area * self.width * self.blocks

    @property
    def in_blocks(self) -> int:
        """That its transformer blocks give."""
        return self.numbers * self.depth


def _levels(config: Mapping[str, Any], size: tuple[int, int]) -> Iterator[_Level]:
    """Every level, and the block in the middle with as much as two residual blocks and one stack."""
    unet, reduction = config["unet"], 2 ** (len(config["vae"]["block_out_channels"]) - 1)
    widths, per_level = unet["block_out_channels"], unet["layers_per_block"]
    depths = unet.get("transformer_layers_per_block", 1)
    depths = [depths] * len(widths) if isinstance(depths, int) else depths
    area = size[0] * size[1] // reduction**2
    for index, (width, depth, kind) in enumerate(zip(widths, depths, unet["down_block_types"], strict=True)):
        crossed = depth if kind.startswith("CrossAttn") else 0
        yield _Level(area // 4**index, width, 2 * per_level + 1, crossed)
    deepest = area // 4 ** (len(widths) - 1)
    yield _Level(deepest, widths[-1], 1, depths[-1])
    yield _Level(deepest, widths[-1], 1, 0)


def _text_numbers(config: Mapping[str, Any]) -> int:
    """That the layers of the text encoders give for one prompt."""
    encoders = [config[name] for name in ("text_encoder", "text_encoder_2") if name in config]
    return sum(
        int(one["num_hidden_layers"] * one["hidden_size"] * one["max_position_embeddings"])
        for one in encoders
    )
