"""The accuracy matrix of one run: how well each model draws each concept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clora_ext.errors import UsageError

__all__ = ["MODELS_CONCEPTS", "AccuracyMatrix", "Axis"]

Axis = Literal["model", "concept"]
MODELS_CONCEPTS: tuple[Axis, Axis] = ("model", "concept")


@dataclass(frozen=True, slots=True)
class AccuracyMatrix:
    """Scores of T concepts by T models, both in the order in which the concepts were taught.

    Attributes:
        scores: (T, T), float64: ``scores[i, j]`` is the score of concept j by the model that has learned
            concepts 0 to i; NaN: not measured.
        concepts: their names, T of them.
        base: scores by the model before the first concept, (T,); NaN: not measured.
        isolated: score of each concept by a model that has learned nothing else, (T,); NaN: not measured.

    Raises:
        UsageError: the shapes do not fit, or an infinity is among the scores.
    """

    scores: NDArray[np.float64]
    concepts: tuple[str, ...]
    base: NDArray[np.float64]
    isolated: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Take any arrays, but only of the right shapes."""
        count = len(self.concepts)
        shapes = {"scores": (count, count), "base": (count,), "isolated": (count,)}
        for name, shape in shapes.items():
            array = np.asarray(getattr(self, name), dtype=np.float64)
            if array.shape != shape or not count:
                message = f"an accuracy matrix of {count} concepts cannot have {name} of shape {array.shape}"
                raise UsageError(message, fix=f"give {name} of shape {shape}, NaN where nothing was measured")
            if np.isinf(array).any():
                raise UsageError(f"the accuracy matrix has an infinite value in {name}", fix="score again")
            object.__setattr__(self, name, array)

    @classmethod
    def of(
        cls,
        scores: "NDArray[np.float64] | Sequence[Sequence[float | None]]",
        *,
        axes: tuple[Axis, Axis] = MODELS_CONCEPTS,
        concepts: Sequence[str] | None = None,
        base: "NDArray[np.float64] | Sequence[float] | None" = None,
        isolated: "NDArray[np.float64] | Sequence[float] | None" = None,
    ) -> "AccuracyMatrix":
        """The matrix from scores whose axes are named: the paper and its code have them the other way round.

        >>> lower = AccuracyMatrix.of([[0.9, None], [0.6, 0.8]])
        >>> upper = AccuracyMatrix.of([[0.9, 0.6], [None, 0.8]], axes=("concept", "model"))
        >>> float(lower.scores[1, 0]), float(upper.scores[1, 0])
        (0.6, 0.6)

        Args:
            scores: (T, T) by the axes' names; None or NaN: not measured.
            axes: what the first and the second index count.
            concepts: their names; None: "1" to "T".
            base: scores by the model before the first concept, (T,).
            isolated: scores by models that have learned one concept alone, (T,).

        Raises:
            UsageError: the axes are not these two, or the shapes do not fit.
        """
        if sorted(axes) != sorted(MODELS_CONCEPTS):
            raise UsageError(f"unknown axes {axes!r}", fix="name each of model and concept once")
        found = np.asarray(
            [[nan if value is None else value for value in row] for row in scores], dtype=np.float64
        )
        names = tuple(str(number + 1) for number in range(len(found))) if concepts is None else concepts
        nothing = np.full(len(names), nan)
        return cls(
            found if axes == MODELS_CONCEPTS else found.T,
            tuple(names),
            nothing if base is None else np.asarray(base, dtype=np.float64),
            nothing if isolated is None else np.asarray(isolated, dtype=np.float64),
        )

    @property
    def count(self) -> int:
        """T."""
        return len(self.concepts)

    @property
    def learned(self) -> NDArray[np.float64]:
        """Each concept's score right after it was taught: the diagonal, (T,)."""
        return np.array(np.diagonal(self.scores))

    @property
    def final(self) -> NDArray[np.float64]:
        """Each concept's score by the last model, (T,)."""
        return np.array(self.scores[-1])

    @property
    def history(self) -> NDArray[np.float64]:
        """The scores, NaN where a model had not learned the concept yet."""
        return np.where(np.tril(np.ones_like(self.scores)) > 0, self.scores, nan)

    def normalised(self) -> "AccuracyMatrix":
        """(score - base) / (isolated - base): 0 is the base model, 1 a model that learned nothing else.

        So concepts can be compared and averaged, and a method that only learns less is seen to. NaN where the
        isolated model is no better than the base, on which no share can be told.
        """
        gain = self.isolated - self.base
        gain = np.where(gain > 0, gain, nan)
        shares = (self.scores - self.base) / gain
        zeros, ones = np.where(np.isnan(gain), nan, 0.0), np.where(np.isnan(gain), nan, 1.0)
        return AccuracyMatrix(shares, self.concepts, zeros, ones)

    def as_dict(self) -> Mapping[str, object]:
        """Plain values for JSON; None: not measured."""
        return {
            "concepts": list(self.concepts),
            "axes": list(MODELS_CONCEPTS),
            "scores": [_plain(row) for row in self.scores],
            "base": _plain(self.base),
            "isolated": _plain(self.isolated),
        }


def _plain(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
