"""What an older clora recorded is compared with today's settings as if it had had today's defaults."""

from typing import Any

from clora_ext import Settings
from clora_ext.config.recorded import settings_that_differ, with_defaults


def without(record: dict[str, Any], group: str, name: str) -> dict[str, Any]:
    """A record from before there was such a setting."""
    return {**record, group: {key: value for key, value in record[group].items() if key != name}}


def test_a_setting_that_was_not_there_yet_is_no_change() -> None:
    settings = Settings.of(rank=4, steps=7)
    record = without(settings.as_dict(), "adapter", "text_encoder")
    del record["compute"]
    assert settings_that_differ(record, settings.as_dict()) == []
    assert settings_that_differ(record, settings.with_values(text_encoder=True).as_dict()) == ["text_encoder"]
    assert with_defaults(record) == settings.as_dict()


def test_every_difference_is_named_and_samples_and_costs_are_none() -> None:
    settings = Settings.of(seed=1, steps=7, strategy="orthogonal", strategy_options={"mode": "paper"})
    assert settings_that_differ(Settings().as_dict(), settings.as_dict()) == [
        "strategy",
        "strategy_options",
        "seed",
        "steps",
    ]
    same = settings.with_values(sample_count=1, guidance=1.0, gradient_checkpointing=True)
    assert settings_that_differ(settings.as_dict(), same.as_dict()) == []


def test_what_today_does_not_know_is_a_difference() -> None:
    record = Settings().shaping()
    record["adapter"]["dropout"] = 0.5
    assert settings_that_differ(record | {"lora": "x"}, Settings().as_dict()) == ["dropout", "lora"]
    assert "rank" in settings_that_differ({"adapter": 5}, Settings().as_dict())


def test_a_tuple_is_what_json_makes_of_it() -> None:
    settings = Settings.of(strategy_options={"layers": (1, 2)})
    assert settings_that_differ({"strategy_options": {"layers": [1, 2]}}, settings.as_dict()) == []
