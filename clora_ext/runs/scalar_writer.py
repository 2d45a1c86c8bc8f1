"""What takes the numbers of a training's steps."""

from collections.abc import Mapping
from typing import Protocol

__all__ = ["ScalarWriter", "Scalars"]

Scalars = Mapping[str, float]
"""By names that sd-scripts gives them too."""


class ScalarWriter(Protocol):
    """A log of one run."""

    def __call__(self, values: Scalars, step: int) -> None:
        """Write numbers of a step (from 1)."""
        ...
