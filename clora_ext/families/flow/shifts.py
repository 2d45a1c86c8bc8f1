"""How far times are moved towards noise: by one factor, or by how many tokens a picture is.

A picture of more tokens shows more of what is left of it under noise (arXiv 2403.03206, section 5.3.2).
Needs no torch.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Fitted", "Fixed", "Growing", "Shift", "read_shift"]


class Shift(Protocol):
    """A factor for :func:`clora_ext.families.flow.process.shifted`; 1 moves nothing."""

    def factor(self, tokens: int, steps: int) -> float:
        """Of pictures of so many tokens.

        Args:
            tokens: the transformer's, of one picture.
            steps: of sampling; 1 in training.
        """
        ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same for all pictures."""

    shift: float

    def factor(self, tokens: int, steps: int) -> float:
        """It."""
        return self.shift


@dataclass(frozen=True, slots=True)
class Growing:
    """Its logarithm grows evenly with the tokens.

    Attributes:
        least: a number of tokens, and the logarithm there.
        most: another, and the logarithm there.
    """

    least: tuple[float, float]
    most: tuple[float, float]

    def factor(self, tokens: int, steps: int) -> float:
        """On the line through both, also beyond them.

        >>> round(math.log(Growing((256, 0.5), (4096, 1.15)).factor(2176, 1)), 3)
        0.825
        """
        (start, low), (end, high) = self.least, self.most
        return math.exp(low + (high - low) * (tokens - start) / (end - start))


@dataclass(frozen=True, slots=True)
class Fitted:
    """Its logarithm is a straight line over the tokens, another for each number of steps.

    Attributes:
        few: a number of steps, and the line's slope and height.
        many: another number of steps, and its line.
        beyond: more tokens than these: the line of many steps, whatever the steps.
    """

    few: tuple[float, float, float]
    many: tuple[float, float, float]
    beyond: int

    def factor(self, tokens: int, steps: int) -> float:
        """Between the lines and beyond them in proportion to the steps."""
        (least, *low), (most, *high) = self.few, self.many
        share = 1.0 if tokens > self.beyond else (steps - least) / (most - least)
        lines = [slope * tokens + height for slope, height in (low, high)]
        return math.exp(lines[0] + share * (lines[1] - lines[0]))


def read_shift(data: Mapping[str, Any]) -> Shift:
    """What a family's data say: the fields of one of the three."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in data.items()
    }
    kinds: tuple[type[Fixed | Growing | Fitted], ...] = (Fixed, Growing, Fitted)
    return next(kind for kind in kinds if set(values) == set(kind.__dataclass_fields__))(**values)
