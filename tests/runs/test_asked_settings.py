"""What a user asks for: the model's settings by a preset, and what is said."""

from clora_ext import Settings
from clora_ext.runs.asked_settings import asked_settings

SUITABLE = Settings.of(steps=200, rank=3)


def test_what_is_given_counts_more_than_the_preset_and_that_more_than_the_model() -> None:
    assert asked_settings(SUITABLE) == SUITABLE
    assert asked_settings(SUITABLE, "fast") == Settings.of(steps=100, rank=3)
    given = {"strategy": "merge", "steps": 7}
    assert asked_settings(SUITABLE, "fast", given) == Settings.of(steps=7, rank=3, strategy="merge")
    paper = asked_settings(SUITABLE, "paper", {"rank": 5})
    assert (paper.schedule.steps, paper.adapter.rank) == (850, 5)
