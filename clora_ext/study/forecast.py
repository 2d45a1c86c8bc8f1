"""A forecast: what one figure of one strategy is expected to be, written down before anything is run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any, ClassVar

from clora_ext.errors import did_you_mean
from clora_ext.metrics.definitions import DEFINITIONS

__all__ = ["Forecast", "Verdict"]

_ISOLATED = "grid.isolated = true"
_FUTURE = "evaluation.future = true"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a forecast.

    Attributes:
        value: of the strategy's figure, mean over runs.
        bound: that it was to stay below or above.
        held: whether it did; None: it has not been measured (yet).
    """

    value: float
    bound: float
    held: bool | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """One figure of one strategy against a number or another strategy.

    Attributes:
        why: the reason, in words.
        figure: one of :data:`clora_ext.metrics.definitions.DEFINITIONS`.
        strategy: its label.
        below: a number or another strategy's label; None: no such bound.
        above: the same from the other side.
        normalised: whether scores are taken as shares of the way from the base to the isolated model.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {
        "extra": "forbid",
        "strict": True,
        "allow_inf_nan": False,
    }

    figure: str
    strategy: str
    below: float | str | None = None
    above: float | str | None = None
    normalised: bool = True
    why: str = ""

    def problems(self, strategies: Sequence[str], *, isolated: bool, future: bool) -> Iterator[str]:
        """Why it can never be judged: names that nothing bears, figures that the study does not measure."""
        name = f"the forecast of {self.figure}"
        if self.figure not in DEFINITIONS:
            known = did_you_mean(self.figure, tuple(DEFINITIONS))
            yield f"unknown figure {self.figure!r} in a forecast; {known}"
        for label in (self.strategy, self.below, self.above):
            if isinstance(label, str) and label not in strategies:
                yield f"{name} names {label!r}, which is no strategy here; {did_you_mean(label, strategies)}"
        if (self.below is None) == (self.above is None):
            yield f"{name} of {self.strategy!r} needs either below or above"
        if not isolated and (self.normalised or self.figure == "intransigence"):
            yield f"{name} cannot be measured without isolated models: set {_ISOLATED}"
        if not future and self.figure == "forward_transfer":
            yield f"{name} cannot be measured: set {_FUTURE}"

    @property
    def words(self) -> str:
        """What is forecast.

        >>> Forecast("paper_forgetting", "mask", below="merge").words
        'paper forgetting of mask below that of merge'
        """
        side, bound = ("below", self.below) if self.below is not None else ("above", self.above)
        what = f"that of {bound}" if isinstance(bound, str) else f"{bound:g}"
        return f"{self.figure.replace('_', ' ')} of {self.strategy} {side} {what}"

    def judged(self, figures: Mapping[str, float]) -> Verdict:
        """By ``figures``: the figure's mean by strategy, NaN where it was not measured."""
        bound = self.below if self.below is not None else self.above
        limit = figures[bound] if isinstance(bound, str) else float(bound or 0)
        value = figures[self.strategy]
        if isnan(value) or isnan(limit):
            return Verdict(value, limit, None)
        return Verdict(value, limit, value < limit if self.below is not None else value > limit)
