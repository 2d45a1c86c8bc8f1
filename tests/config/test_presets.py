"""Presets: fewer or more of the steps that suit a model."""

import pytest

from clora_ext import Settings
from clora_ext.config.presets import at_preset
from clora_ext.errors import UsageError


@pytest.mark.parametrize(("preset", "steps"), [("fast", 100), ("balanced", 200), ("thorough", 400)])
def test_a_preset_changes_the_steps_alone(preset: str, steps: int) -> None:
    settings = Settings.of(steps=200, rank=3, learning_rate=0.5)
    assert at_preset(settings, preset) == Settings.of(steps=steps, rank=3, learning_rate=0.5)


def test_one_step_is_the_least() -> None:
    assert at_preset(Settings.of(steps=1), "fast").schedule.steps == 1


def test_an_unknown_preset_is_told_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="'thorogh'") as caught:
        at_preset(Settings(), "thorogh")
    assert "thorough" in caught.value.fix
