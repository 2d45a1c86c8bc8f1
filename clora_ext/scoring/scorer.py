"""What a scorer is: an encoder that turns pictures into unit vectors, whose cosines are likenesses."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

__all__ = ["Scorer", "TextScorer"]


class Scorer(Protocol):
    """An image encoder, ready to score."""

    @property
    def name(self) -> str:
        """Its kind, such as ``dinov2``."""
        ...

    @property
    def digest(self) -> str:
        """sha256 over everything that decides its vectors: equal digests give equal vectors."""
        ...

    def images(self, pictures: "Sequence[Image]") -> "Tensor":
        """Unit vectors (n, width) of pictures of any size, float32, on the processor.

        Scaling, cropping and normalising are the scorer's own affair, and so is how many it looks at at once.
        """
        ...


class TextScorer(Scorer, Protocol):
    """An encoder that reads texts too, into the same space."""

    def texts(self, texts: Sequence[str]) -> "Tensor":
        """Unit vectors (n, width) of texts, float32, on the processor."""
        ...
