"""When a training has come to rest: not while the error falls, not at a jump, and soon after it stays."""

from collections.abc import Callable
from math import exp

import numpy as np
import pytest

from clora_ext.training.convergence import Convergence

CHANCE = np.random.default_rng(0).normal(0, 1, 1000)


def ends_at(error: Callable[[int], float], steps: int = 400, warmup: int = 0) -> int | None:
    """The step at which an error that goes like this ends the training; None: at no step."""
    found = Convergence((), 1, steps, warmup)
    for step in range(1, steps):
        if found.is_due(step):
            found.losses[step] = error(step)
            if found.is_reached:
                return step
    return None


def test_it_goes_on_while_anything_is_learned() -> None:
    assert ends_at(lambda step: 1 - step / 1000) is None
    assert ends_at(lambda step: exp(-step / 400)) is None


def test_it_ends_when_what_remains_is_chance() -> None:
    """With three sizes of chance, of what is learned in all."""
    for chance in (0.0, 0.01, 0.05):
        step = ends_at(lambda step, size=chance: exp(-step / 20) + size * CHANCE[step])  # type: ignore[misc]  # mypy: a default
        assert step is not None
        assert 80 < step < 220, chance


def test_it_ends_where_nothing_is_ever_learned() -> None:
    assert ends_at(lambda _: 0.5) == 90


def test_the_warm_up_is_waited_for() -> None:
    def late(step: int) -> float:
        return 1.0 if step < 120 else 0.2 + 0.8 * exp(-(step - 120) / 20)

    assert ends_at(late) == 90
    found = ends_at(late, warmup=120)
    assert found is not None
    assert 220 < found < 320


@pytest.mark.parametrize(("steps", "every"), [(3, 1), (80, 2), (400, 10), (2000, 50)])
def test_it_is_asked_forty_times_at_most(steps: int, every: int) -> None:
    found = Convergence((), 1, steps, 0)
    assert found.every == every
    assert not found.is_due(0)
    assert sum(map(found.is_due, range(steps))) <= 40
