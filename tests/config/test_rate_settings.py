"""What a learning rate's scheduler and its options can be together, and which rates come out."""

from typing import Any

import pytest
from cases import check_each

from clora_ext.config.settings import Settings
from clora_ext.errors import SettingsError
from clora_ext.runs.counted_steps import counted_in_steps
from clora_ext.training.learning_rate import learning_rates

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"lr_step_rules": "1"}, "belongs to --lr-scheduler piecewise_constant"),
    ({"lr_scheduler": "piecewise_constant"}, "needs --lr-step-rules"),
    ({"lr_scheduler": "piecewise_constant", "lr_step_rules": "1:10"}, "write multiples and steps"),
    ({"lr_scheduler": "piecewise_constant", "lr_step_rules": "1:9,x:10,1"}, "write multiples and steps"),
    ({"lr_scheduler": "piecewise_constant", "lr_step_rules": "1:20,1:10,1"}, "do not rise"),
    ({"lr_scheduler": "polynomial", "learning_rate": 1e-7}, "has to fall"),
    ({"lr_scheduler": "cosine_with_restarts", "lr_cycles": 1.5}, "a whole number of times"),
    ({"lr_scheduler": "warmup_stable_decay"}, "needs --lr-decay-steps or --lr-decay-share"),
    ({"lr_scheduler": "warmup_stable_decay", "lr_decay_steps": 195}, "do not fit into 200 steps"),
    ({"lr_scheduler": "cosin"}, "cosine"),
    ({"warmup_share": 1.0}, "less than 1"),
]


def test_what_does_not_go_together_is_told() -> None:
    def look(case: tuple[dict[str, Any], str]) -> None:
        values, words = case
        (problem,) = Settings.of(**values).problems()
        assert words in problem

    check_each(WRONG, look)


def test_what_does_not_fit_into_epochs_is_told_once_they_are_counted() -> None:
    asked = Settings.of(lr_scheduler="warmup_stable_decay", lr_decay_steps=40, epochs=5)
    assert not asked.problems()
    with pytest.raises(SettingsError, match="do not fit into 35 steps"):
        counted_in_steps(asked, epoch=7)
    assert counted_in_steps(asked, epoch=20).schedule.steps == 100


def test_shares_of_epochs_are_counted_in_steps() -> None:
    asked = Settings.of(lr_scheduler="cosine", warmup_share=0.29, lr_decay_share=0.5, epochs=10)
    counted = counted_in_steps(asked, epoch=10)
    assert counted.schedule.warmup_steps == 29 - 1  # 0.29 * 100 is a little less than 29, and rounded down
    assert counted.rate.lr_decay_steps == 50


def test_a_rate_that_stays_rises_over_its_warm_up() -> None:
    rate_of = learning_rates(Settings.of(learning_rate=0.5, warmup_steps=4))
    assert [rate_of(step) for step in range(6)] == [0, 0.125, 0.25, 0.375, 0.5, 0.5]


def test_what_a_rate_does_by_default_makes_no_other_model() -> None:
    assert "rate" not in Settings().shaping()
    assert Settings.of(lr_scheduler="cosine").shaping() != Settings().shaping()
