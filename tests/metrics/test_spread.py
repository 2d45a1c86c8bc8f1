"""Spread over runs, pairs, resampled orders, each against another way to the same number."""

from itertools import product
from math import isnan

import numpy as np
import pytest

from clora_ext.metrics.spread import Spread, bootstrap_over_orders, paired_difference

VALUES = [0.1, 0.4, 0.35, 0.8]


def test_both_standard_deviations_are_numpys() -> None:
    found = Spread.of(VALUES)
    assert found.mean == pytest.approx(np.mean(VALUES))
    assert found.population == pytest.approx(np.std(VALUES, ddof=0))
    assert found.sample == pytest.approx(np.std(VALUES, ddof=1))
    assert isnan(Spread.of([0.5]).sample)
    assert Spread.of([]).count == 0


def test_what_order_and_seed_do_to_both_cancels() -> None:
    runs = list(product("abcd", (0, 5)))
    noise = dict(zip(runs, np.random.default_rng(1).normal(size=8), strict=True))
    first = {run: value + 0.25 for run, value in noise.items()}
    found = paired_difference(first, noise)
    assert found.spread.mean == pytest.approx(0.25)
    assert found.spread.sample == pytest.approx(0, abs=1e-12)
    assert found.error == pytest.approx(0, abs=1e-12)
    assert found.wins == 8
    del first["a", 0]
    assert paired_difference(first, noise).spread.count == 7


def test_orders_are_resampled_whole() -> None:
    """Two orders, three equally likely means of the pair: both low, one each, both high."""
    values = {("low", 0): 0.0, ("low", 5): 0.2, ("high", 0): 0.8, ("high", 5): 1.0}
    found = bootstrap_over_orders(values)
    assert (found.low, found.high) == pytest.approx((0.1, 0.9))
    # As eight independent draws the interval would be far narrower than what two orders can tell.
    alike = {(order, seed): 0.5 for order in "abc" for seed in range(4)}
    assert bootstrap_over_orders(alike).high == 0.5
    assert isnan(bootstrap_over_orders({("a", 0): 0.1, ("a", 1): 0.2}).low)


def test_orders_count_by_their_runs() -> None:
    values = {("a", 0): 0.0, ("b", 0): 1.0, ("b", 1): 1.0, ("b", 2): 1.0}
    drawn = np.random.default_rng(0).integers(2, size=(10_000, 2))
    means = [np.mean([0.0] * (row == 0).sum() + [1.0] * 3 * (row == 1).sum()) for row in drawn]
    found = bootstrap_over_orders(values)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))
