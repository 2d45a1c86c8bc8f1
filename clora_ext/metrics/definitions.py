"""Every definition of forgetting and its like that is in use, each from the same matrix.

T concepts; R[i, j] is the score of concept j by the model after concept i. Where a definition asks for what
was not measured, its value is NaN.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from .matrix import AccuracyMatrix

__all__ = [
    "DEFINITIONS",
    "avalanche_forgetting",
    "average_score",
    "backward_transfer",
    "chaudhry_forgetting",
    "forward_transfer",
    "intransigence",
    "mammoth_forgetting",
    "paper_forgetting",
    "plasticity",
]


def average_score(matrix: AccuracyMatrix) -> float:
    """Mean over concepts of the last model's score (arXiv 2410.04891: average score)."""
    return _mean(matrix.final)


def paper_forgetting(matrix: AccuracyMatrix) -> float:
    """1/T sum over j of max over i >= j of R[i, j] - R[T, j]: as the code of arXiv 2410.04891.

    The last concept, which cannot have been forgotten, counts among the T.
    """
    return _mean(_best(matrix.history) - matrix.final)


def chaudhry_forgetting(matrix: AccuracyMatrix) -> float:
    """1/(T-1) sum over j < T of max over l < T of R[l, j] - R[T, j] (arXiv 1801.10112, section 3).

    The last model is not among the maximum's: negative where it draws a concept better than any before.
    """
    if matrix.count < 2:  # noqa: PLR2004 - one concept has none before it
        return float("nan")
    before = matrix.history[:-1, :-1]
    return _mean(_best(before) - matrix.final[:-1])


def mammoth_forgetting(matrix: AccuracyMatrix) -> float:
    """1/(T-1) sum over j < T of max over all i of R[i, j] - R[T, j], 0 for what was not taught yet.

    So says mammoth's ``utils/metrics.py``. Scores below 0, which cosines may be, make it differ from the
    paper's by more than the factor (T-1)/T.
    """
    ahead = np.triu(np.isnan(matrix.scores), k=1)
    filled = np.where(ahead, 0.0, matrix.scores)
    return _mean((filled.max(axis=0) - filled[-1])[:-1])


def backward_transfer(matrix: AccuracyMatrix) -> float:
    """1/(T-1) sum over j < T of R[T, j] - R[j, j] (GEM, arXiv 1706.08840, equation 3)."""
    return _mean((matrix.final - matrix.learned)[:-1])


def forward_transfer(matrix: AccuracyMatrix) -> float:
    """1/(T-1) sum over j >= 2 of R[j-1, j] - base[j] (GEM, equation 4): takes scores of future concepts."""
    return _mean(np.diagonal(matrix.scores, offset=1) - matrix.base[1:])


def avalanche_forgetting(matrix: AccuracyMatrix) -> float:
    """Mean over concepts before the last of first score - last score, as avalanche's ``Forgetting``.

    The first score is by the model that had just learned the concept; backward transfer is the negative.
    """
    return _mean((matrix.learned - matrix.final)[:-1])


def plasticity(matrix: AccuracyMatrix) -> float:
    """Mean score of a concept right after it was taught."""
    return _mean(matrix.learned)


def intransigence(matrix: AccuracyMatrix) -> float:
    """Mean of isolated - learned: what the past costs a new concept (after arXiv 1801.10112, section 3)."""
    return _mean(matrix.isolated - matrix.learned)


DEFINITIONS: Mapping[str, Callable[[AccuracyMatrix], float]] = {
    "average_score": average_score,
    "paper_forgetting": paper_forgetting,
    "chaudhry_forgetting": chaudhry_forgetting,
    "mammoth_forgetting": mammoth_forgetting,
    "avalanche_forgetting": avalanche_forgetting,
    "backward_transfer": backward_transfer,
    "forward_transfer": forward_transfer,
    "plasticity": plasticity,
    "intransigence": intransigence,
}
"""By name, for tables and forecasts."""


def _mean(values: NDArray[np.float64]) -> float:
    """NaN as soon as one value is; NaN of none."""
    return float(values.mean()) if values.size else float("nan")


def _best(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The highest score of each concept; NaN only where there is none."""
    filled = np.where(np.isnan(scores), -np.inf, scores)
    best = filled.max(axis=0)
    return np.where(np.isneginf(best), np.nan, best)
