"""Weights in place of a file's own, made one at a time, so that they need not all be in memory at once."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ComputedWeights"]


class ComputedWeights(Mapping[str, "Tensor"]):
    """Matrices by name; each is computed when it is asked for, and not kept.

    Of a transformer of 12 billion weights the taught ones are 49 GB in float32, which a model in bfloat16 is
    filled from one after the other.

    Args:
        names: of all.
        compute: one of them, by its name.
    """

    def __init__(self, names: Collection[str], compute: "Callable[[str], Tensor]") -> None:
        self._names = names
        self._compute = compute

    def __getitem__(self, name: str) -> "Tensor":
        """It, made anew."""
        if name not in self._names:
            raise KeyError(name)
        return self._compute(name)

    def __contains__(self, name: object) -> bool:
        """Whether there is one, which is not computed for that."""
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        """Names of all."""
        return iter(self._names)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._names)
