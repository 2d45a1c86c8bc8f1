"""Presets: fewer or more of the steps that suit a model, or settings that belong together."""

import pytest
from cases import check_each
from real_shapes import sdxl_header

from clora_ext import Settings, families
from clora_ext.config.presets import PRESETS, at_preset
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


def test_every_preset_gives_settings_that_can_be_used_and_says_what_was_measured() -> None:
    def check(preset: str) -> None:
        assert at_preset(Settings(), preset).problems() == []
        assert PRESETS[preset].summary
        assert PRESETS[preset].measured

    check_each(PRESETS, check)


def test_the_paper_is_what_sdxl_is_taught_by_and_the_artist_is_not() -> None:
    suited = Settings.of(**families.load("sdxl").suggested_settings(sdxl_header()))
    assert at_preset(suited, "paper") == suited
    artist = at_preset(suited, "artist")
    assert (artist.adapter.rank, artist.adapter.targets) == (16, "transformer")
    assert (artist.optimizer.learning_rate, artist.data.batch_size) == (1e-4, 1)
    assert artist.schedule == suited.schedule


def test_what_the_paper_does_is_the_same_for_every_model() -> None:
    paper = at_preset(Settings.of(steps=7, batch_size=8), "paper")
    assert (paper.schedule.steps, paper.data.batch_size, paper.adapter.rank) == (850, 1, 64)
    assert paper.optimizer.learning_rate == 1e-5
