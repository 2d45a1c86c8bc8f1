"""Presets: fewer or more of the steps that suit a model."""

import pytest
from cases import check_each

from clora_ext import Settings
from clora_ext.config.presets import at_preset
from clora_ext.errors import UsageError


def test_a_preset_changes_the_steps_alone() -> None:
    settings = Settings.of(steps=200, rank=3, learning_rate=0.5)

    def check(case: tuple[str, int]) -> None:
        preset, steps = case
        assert at_preset(settings, preset) == Settings.of(steps=steps, rank=3, learning_rate=0.5)

    check_each([("fast", 100), ("balanced", 200), ("thorough", 400)], check)


def test_one_step_is_the_least() -> None:
    assert at_preset(Settings.of(steps=1), "fast").schedule.steps == 1


def test_an_unknown_preset_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="'thorogh'") as caught:
        at_preset(Settings(), "thorogh")
    assert "thorough" in caught.value.fix
