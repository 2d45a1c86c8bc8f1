"""Places where an adapter can sit. Needs no torch."""

from dataclasses import dataclass
from math import prod
from typing import Literal

__all__ = ["Component", "Site"]

Component = Literal["unet", "text_encoder", "text_encoder_2"]


@dataclass(frozen=True, slots=True)
class Site:
    """One weight of the model that an adapter may change.

    Attributes:
        component: the network that it belongs to.
        module: dotted path of the module, as diffusers (UNet) and transformers (text encoders) name it; text
            encoders always with ``text_model.``, whatever the installed transformers calls it.
        original: dotted path of the module inside the UNet of the original single-file layout, such as
            ``input_blocks.4.1.proj_in``; for text encoders the same as ``module``.
        shape: of the weight: (out, in), or (out, in, kernel height, kernel width) of a convolution.
    """

    component: Component
    module: str
    original: str
    shape: tuple[int, ...]

    @property
    def matrix(self) -> tuple[int, int]:
        """The weight's shape seen as a matrix: (out, in * kernel height * kernel width).

        >>> Site("unet", "conv_in", "input_blocks.0.0", (320, 4, 3, 3)).matrix
        (320, 36)
        """
        return self.shape[0], prod(self.shape[1:])
