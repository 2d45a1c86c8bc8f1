"""The scorers that a study names."""

from collections.abc import Callable, Mapping, Sequence

from clora_ext.errors import UsageError, did_you_mean
from clora_ext.scoring import Scorer
from clora_ext.scoring.demo import load_demo_scorer

__all__ = ["SCORERS", "open_scorers"]

SCORERS: Mapping[str, Callable[[], Scorer]] = {"demo": load_demo_scorer}
"""How each is opened, by its name."""


def open_scorers(names: Sequence[str]) -> tuple[Scorer, ...]:
    """The scorers, ready to score.

    Raises:
        UsageError: there is no such scorer.
        CheckpointError: its weights are not there, or not those that were published.
    """
    for name in names:
        if name not in SCORERS:
            raise UsageError(f"unknown scorer {name!r}", fix=did_you_mean(name, tuple(SCORERS)))
    return tuple(SCORERS[name]() for name in dict.fromkeys(names))
