"""How far figures may be off: spread over runs, paired differences, and resampled orders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan, sqrt
from statistics import fmean

import numpy as np

__all__ = ["Difference", "Interval", "Spread", "bootstrap_over_orders", "paired_difference"]

_RESAMPLES = 10_000
_LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Spread:
    """Several runs' values of one figure.

    Attributes:
        count: of the runs.
        mean: over them.
        population: standard deviation with ddof 0, as the paper reports.
        sample: with ddof 1, which is not too small on average; NaN of a single run.
    """

    count: int
    mean: float
    population: float
    sample: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of ``values``, which may hold NaN: then all is NaN.

        >>> Spread.of([1.0, 3.0])
        Spread(count=2, mean=2.0, population=1.0, sample=1.4142135623730951)
        """
        count = len(values)
        if not count:
            return cls(0, nan, nan, nan)
        mean = fmean(values)
        squares = sum((value - mean) ** 2 for value in values)
        return cls(count, mean, sqrt(squares / count), sqrt(squares / (count - 1)) if count > 1 else nan)


@dataclass(frozen=True, slots=True)
class Difference:
    """One method against another on the same (order, seed).

    Attributes:
        spread: of the differences, first - second.
        wins: runs in which the first was higher.
    """

    spread: Spread
    wins: int

    @property
    def error(self) -> float:
        """Standard error of the mean difference, as if runs were independent; NaN of a single run."""
        return self.spread.sample / sqrt(self.spread.count) if self.spread.count else nan


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a mean lies in 95 % of the resampled studies."""

    low: float
    high: float


def paired_difference(
    first: Mapping[tuple[str, int], float], second: Mapping[tuple[str, int], float]
) -> Difference:
    """Run against run: what order and seed do to both cancels.

    >>> paired_difference({("a", 0): 2.0, ("b", 0): 5.0}, {("a", 0): 1.0, ("b", 0): 3.0}).spread.mean
    1.5

    Args:
        first: values by (order, seed).
        second: values of the other method; runs that one of the two lacks are left out.
    """
    differences = [first[run] - second[run] for run in sorted(first.keys() & second.keys())]
    return Difference(Spread.of(differences), sum(value > 0 for value in differences))


def bootstrap_over_orders(
    values: Mapping[tuple[str, int], float], *, seed: int = 0, resamples: int = _RESAMPLES
) -> Interval:
    """The interval of the mean when whole orders are drawn again, with all of their seeds.

    Seeds of one order share what the order does: four orders with two seeds are not eight independent draws.
    NaN with fewer than two orders, of which no spread over orders can be told.

    Args:
        values: by (order, seed).
        seed: of the resampling.
        resamples: how often orders are drawn.
    """
    orders: dict[str, list[float]] = {}
    for (order, _), value in sorted(values.items()):
        orders.setdefault(order, []).append(value)
    if len(orders) < 2 or any(isnan(value) for value in values.values()):  # noqa: PLR2004
        return Interval(nan, nan)
    sums = np.array([sum(found) for found in orders.values()])
    counts = np.array([len(found) for found in orders.values()])
    drawn = np.random.default_rng(seed).integers(len(orders), size=(resamples, len(orders)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Interval(float(low), float(high))
