"""What a user asks for: the model's settings, the strategy's steps, and what is said."""

from clora_ext import Settings, strategies
from clora_ext.runs.asked_settings import asked_settings

SUITABLE = Settings.of(steps=200, rank=3)


def test_a_strategy_takes_the_steps_that_it_needs() -> None:
    """At every preset that is a share of the steps; what is given, and what a preset names, stays."""
    factor = strategies.steps_factor("distill")
    assert factor > 1
    distilled = asked_settings(SUITABLE, given={"strategy": "distill"})
    assert distilled == Settings.of(steps=round(200 * factor), rank=3, strategy="distill")
    fast = asked_settings(SUITABLE, "fast", {"strategy": "distill"})
    assert fast.schedule.steps == round(100 * factor)
    given = asked_settings(SUITABLE, given={"strategy": "distill", "steps": 7})
    assert given.schedule.steps == 7
    assert asked_settings(SUITABLE, "paper", {"strategy": "distill"}).schedule.steps == 850


def test_merge_takes_the_models_steps_and_so_does_a_name_that_is_none() -> None:
    assert asked_settings(SUITABLE, given={"strategy": "merge"}).schedule.steps == 200
    assert asked_settings(SUITABLE, given={"strategy": "mregr"}).schedule.steps == 200
