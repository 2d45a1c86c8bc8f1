"""What the shapes in a checkpoint's header tell, whatever the family. Needs no torch."""

from itertools import count
from typing import Any

from clora_ext.errors import CheckpointError
from clora_ext.formats.header import Header

__all__ = ["Shapes", "autoencoder_levels"]

_FIX = "use a checkpoint in Stable Diffusion's original layout"


class Shapes:
    """Shapes by name, below one prefix."""

    def __init__(self, header: Header, prefix: str) -> None:
        self._prefix = prefix
        self._shapes = {
            name.removeprefix(prefix): info.shape
            for name, info in header.tensors.items()
            if name.startswith(prefix)
        }

    def __contains__(self, name: str) -> bool:
        return name in self._shapes

    def side(self, name: str, dimension: int) -> int:
        """One dimension of a tensor that must be there."""
        try:
            return self._shapes[name][dimension]
        except (KeyError, IndexError) as error:
            message = f"the tensor {self._prefix + name!r} is missing or has the wrong number of dimensions"
            raise CheckpointError(message, fix=_FIX) from error

    def dimensions(self, name: str) -> int:
        """How many dimensions a tensor has; 0: it is not there."""
        return len(self._shapes.get(name, ()))

    def series(self, pattern: str) -> int:
        """How many tensors ``pattern`` (with one ``{}``) names, counted from 0 without a gap."""
        return next(number for number in count() if pattern.format(number) not in self)


def autoencoder_levels(shapes: Shapes) -> dict[str, Any]:
    """Of diffusers' configuration of an AutoencoderKL: widths, depths and channels of pictures.

    Args:
        shapes: of its tensors, in the original layout.

    Raises:
        CheckpointError: tensors are missing.
    """
    blocks = shapes.series("encoder.down.{}.block.0.conv1.weight")
    return {
        "block_out_channels": [
            shapes.side(f"encoder.down.{block}.block.0.conv1.weight", 0) for block in range(blocks)
        ],
        "layers_per_block": shapes.series("encoder.down.0.block.{}.conv1.weight"),
        "down_block_types": ["DownEncoderBlock2D"] * blocks,
        "up_block_types": ["UpDecoderBlock2D"] * blocks,
        "in_channels": shapes.side("encoder.conv_in.weight", 1),
        "out_channels": shapes.side("decoder.conv_out.weight", 0),
    }
