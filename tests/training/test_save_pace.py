"""A training is saved in proportion to what that costs."""

from cases import check_each

from clora_ext.training.save_pace import SavePace


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_save_is_due_after_fifty_times_its_cost_and_after_20_seconds_at_the_least() -> None:
    def check(case: tuple[float, float]) -> None:
        cost, pause = case
        clock = Clock()
        pace = SavePace(clock)
        clock.now += 1000
        assert pace.is_due
        began = clock.now
        clock.now += cost
        pace.saved(began)
        assert not pace.is_due
        clock.now += pause - 0.5
        assert not pace.is_due
        clock.now += 1
        assert pace.is_due

    check_each([(0.0, 20.0), (0.25, 20.0), (0.5, 25.0), (6.0, 300.0)], check)


def test_the_first_save_comes_after_20_seconds() -> None:
    clock = Clock()
    pace = SavePace(clock)
    clock.now += 19.5
    assert not pace.is_due
    clock.now += 1
    assert pace.is_due
