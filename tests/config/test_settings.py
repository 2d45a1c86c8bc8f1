"""Settings: changed by name, checked all at once, the strategy's options typed."""

import json
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from cases import check_each

from clora_ext import Settings, families, strategies
from clora_ext.config.knob_fields import knob_fields
from clora_ext.config.settings import AdapterSettings
from clora_ext.errors import SettingsError, UsageError
from clora_ext.runs.checked_settings import checked_settings


def problems(**values: Any) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        checked_settings(Settings.of(**values))
    return caught.value.problems


def test_the_defaults_are_sound() -> None:
    checked_settings(Settings())
    assert checked_settings(Settings()) == Settings()


def test_a_knob_is_changed_by_its_name_whatever_group_it_stands_in() -> None:
    settings = Settings.of(rank=4, steps=50, seed=7, strategy="merge")
    assert (settings.adapter.rank, settings.schedule.steps, settings.seed) == (4, 50, 7)
    again = settings.with_values(alpha=2.0)
    assert again.adapter == AdapterSettings(rank=4, alpha=2.0)
    assert settings.adapter.alpha is None
    assert (settings.adapter.effective_alpha, again.adapter.effective_alpha) == (4.0, 2.0)


def test_an_unknown_knob_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="'setps'") as caught:
        Settings.of(setps=3)
    assert "did you mean 'steps'?" in caught.value.fix


def test_all_problems_are_reported_at_once_in_words_that_people_type() -> None:
    assert problems(
        strategy="msak", seed=2**63, rank=0, targets="attenton",
        learning_rate=-1.0, max_grad_norm=inf, steps=True,
    ) == (
        f"unknown strategy 'msak'; did you mean 'mask'? Choose one of: {', '.join(strategies.names())}",
        "seed must be less than 9223372036854775808, not 9223372036854775808",
        "rank must be at least 1, not 0",
        "unknown targets 'attenton'; did you mean 'attention'? Choose one of: attention, transformer",
        "learning-rate must be more than 0, not -1.0",
        "max-grad-norm must be a finite number, not inf",
        "steps cannot be True: input should be a valid integer",
    )  # fmt: skip


def test_a_strategys_wrong_options_are_reported_with_the_rest() -> None:
    found = problems(strategy="orthogonal", strategy_options={"mode": "papr", "depth": "3"}, sample_count=17)
    assert found == (
        "strategy 'orthogonal': unknown mode 'papr'; did you mean 'paper'? Choose one of: row-space, paper",
        "strategy 'orthogonal' has no option 'depth'; choose one of: mode",
        "sample-count must be at most 16, not 17",
    )


def test_no_value_of_another_type_will_do() -> None:
    def check(value: object) -> None:
        (problem,) = problems(learning_rate=value)
        assert problem.startswith("learning-rate ")

    check_each([nan, "0.1", None], check)


def test_none_is_a_value_where_the_settings_say_so() -> None:
    checked_settings(Settings.of(alpha=None, resolution=None, sample_prompt=None))
    assert len(problems(rank=None, steps=None)) == 2


def test_settings_are_plain_values_for_json() -> None:
    values = checked_settings(
        Settings.of(strategy="orthogonal", strategy_options={"mode": "paper"})
    ).as_dict()
    assert json.loads(json.dumps(values)) == values
    assert values["strategy_options"] == {"mode": "paper"}
    assert values["adapter"]["rank"] == 8


def test_samples_do_not_shape_the_model() -> None:
    assert Settings.of(guidance=2.0, preview_every=3).shaping() == Settings().shaping()
    assert Settings.of(warmup_steps=0).shaping() != Settings().shaping()


def test_what_a_family_suggests_is_marked_as_suited_to_the_model() -> None:
    """Else the command line would show a default that is not taken."""
    suited = {field.name for field in knob_fields(Settings).values() if field.knob.suits_model}
    files = list(Path(families.__file__).parent.glob("*.json"))
    assert len(files) > 2
    for file in files:
        assert set(json.loads(file.read_text(encoding="utf-8"))["suggested_settings"]) <= suited


def test_what_does_not_go_together_is_said() -> None:
    averaging = Settings.of(optimizer_type="AdamWScheduleFree", ema_decay=0.9)
    assert averaging.problems() == ["AdamWScheduleFree learns an average by itself: leave --ema-decay out"]
    (problem,) = Settings.of(dora=True, fp8_base=True).problems()
    assert problem.endswith("leave one out")
