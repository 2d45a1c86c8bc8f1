"""From results to matrices and figures. Needs no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan, nan
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clora_ext.metrics.definitions import DEFINITIONS
from clora_ext.metrics.matrix import AccuracyMatrix

from .results import StudyFolder
from .schedule import Run, Schedule

__all__ = ["Cost", "Measured"]

Pair = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a strategy costs; NaN: not known.

    Attributes:
        seconds: of the training of one concept after the first, mean.
        peak_bytes: in use while it trains, the most of all concepts.
        strategy_bytes: that it keeps for itself beside the model, after the last concept.
        memory_bytes: of the project's memory altogether, after the last concept.
        state_level: what it keeps of past concepts.
    """

    seconds: float
    peak_bytes: float
    strategy_bytes: float
    memory_bytes: float
    state_level: str


class Measured:
    """What a study has measured so far, by one scorer.

    Args:
        schedule: of the study.
        folder: with its results.
        scorer: whose scores are asked for, by its name in the file.
    """

    def __init__(self, schedule: Schedule, folder: StudyFolder, scorer: str) -> None:
        self.schedule = schedule
        self.scorer = scorer
        self._digest = schedule.scorers[scorer]
        self._folder = folder
        self._results: dict[str, Mapping[str, Any] | None] = {}

    @cached_property
    def strategies(self) -> tuple[str, ...]:
        """Their labels, in the order of the file."""
        return tuple(dict.fromkeys(run.strategy for run in self.schedule.runs))

    def runs(self, strategy: str) -> list[Run]:
        """All of one strategy."""
        return [run for run in self.schedule.runs if run.strategy == strategy]

    def matrix(self, run: Run, *, noise: int | None = None) -> AccuracyMatrix:
        """The scores of one run; NaN: not measured (yet).

        Args:
            run: which.
            noise: number of the one noise whose drawings count; None: all.
        """
        schedule = self.schedule
        alone = schedule.isolated.get(str(run.seed), {})
        return AccuracyMatrix(
            np.array([[self._score(key, noise) for key in row] for row in run.scores]),
            run.concepts,
            np.array([self._score(schedule.base[name], noise) for name in run.concepts]),
            np.array([self._score(alone.get(name, ""), noise) for name in run.concepts]),
        )

    def taken(self, run: Run, *, normalised: bool, noise: int | None = None) -> AccuracyMatrix:
        """The matrix as it is, or as shares of the way from the base to the isolated model."""
        found = self.matrix(run, noise=noise)
        if not normalised:
            return found
        # One noise's own base and isolated scores would divide by differences that are chance alone.
        whole = self.matrix(run)
        return AccuracyMatrix(found.scores, run.concepts, whole.base, whole.isolated).normalised()

    @property
    def is_normalised(self) -> bool:
        """Whether isolated models are part of the study."""
        return bool(self.schedule.isolated)

    def figure(self, name: str, strategy: str, *, normalised: bool) -> dict[Pair, float]:
        """One figure of every run of a strategy that has it, by (order, seed)."""
        define = DEFINITIONS[name]
        found = {
            (run.order, run.seed): define(self.taken(run, normalised=normalised))
            for run in self.runs(strategy)
        }
        return {pair: value for pair, value in found.items() if not isnan(value)}

    def figure_by_noise(self, name: str, strategy: str, *, normalised: bool) -> dict[tuple[str, int], float]:
        """The same of every noise by itself, by ("order, seed", noise): pairs for differences."""
        define = DEFINITIONS[name]
        found = {
            (f"{run.order}, {run.seed}", noise): define(self.taken(run, normalised=normalised, noise=noise))
            for run in self.runs(strategy)
            for noise in range(self.noises)
        }
        return {pair: value for pair, value in found.items() if not isnan(value)}

    def means(self, name: str, *, normalised: bool) -> dict[str, float]:
        """The figure's mean over runs by strategy; NaN: not measured."""
        found = {one: self.figure(name, one, normalised=normalised) for one in self.strategies}
        return {one: fmean(values.values()) if values else nan for one, values in found.items()}

    def mean_matrix(self, strategy: str, *, normalised: bool) -> NDArray[np.float64]:
        """(T, T), mean over the runs that have come to their end; by places in the order, not by concepts.

        NaN where one of them was not scored; all of it where orders differ in length.
        """
        found = [self.taken(run, normalised=normalised).history for run in self.runs(strategy)]
        sizes = {len(one) for one in found}
        whole = [one for one in found if not np.isnan(one[-1]).any()]
        if len(sizes) != 1 or not whole:
            return np.full((max(sizes), max(sizes)), nan)
        return np.asarray(np.stack(whole).mean(axis=0), dtype=np.float64)

    def drift(self, strategy: str) -> list[tuple[float, float, float]]:
        """(kernel distance, 1 - cosine, distance of latents) of the last model of every run that has them."""
        found = [self._result(run.drift) for run in self.runs(strategy) if run.drift]
        drifts = [one["drift"] for one in found if one is not None]
        by_scorer = [(one["by_scorer"][self._digest], one["latents"]) for one in drifts]
        return [(own["kernel"], own["paired"], latents) for own, latents in by_scorer]

    def cost(self, strategy: str) -> Cost:
        """What the strategy's lessons have cost."""
        runs = self.runs(strategy)
        lessons = [one for run in runs for key in run.models[1:] if (one := self._result(key)) is not None]
        last = [one for run in runs if (one := self._result(run.models[-1])) is not None]
        peaks = [peak for one in lessons if (peak := one["cost"].get("peak_bytes")) is not None]
        seconds = [time for one in lessons if (time := one["cost"].get("training_seconds")) is not None]
        return Cost(
            fmean(seconds) if seconds else nan,
            max(peaks, default=nan),
            fmean(one["bytes"]["strategy"] for one in last) if last else nan,
            fmean(one["bytes"]["memory"] for one in last) if last else nan,
            last[0]["state_level"] if last else "-",
        )

    def concept_scores(self, name: str) -> tuple[float, float, float]:
        """A concept's score by the base, by isolated models (mean over seeds), and of its references."""
        alone = [self._score(keys.get(name, ""), None) for keys in self.schedule.isolated.values()]
        base, ceiling = (
            self._score(keys[name], None) for keys in (self.schedule.base, self.schedule.ceiling)
        )
        return base, fmean(alone) if alone else nan, ceiling

    @cached_property
    def noises(self) -> int:
        """Pictures a prompt; 0: nothing is measured yet."""
        scores = (self._scores(key) for key in self.schedule.base.values())
        return min((len(row) for found in scores if found is not None for row in found), default=0)

    def pictures(self, name: str) -> int:
        """How many drawings a score of the concept is the mean of; 0: not measured yet."""
        found = self._scores(self.schedule.base[name])
        return sum(map(len, found)) if found is not None else 0

    def _score(self, key: str, noise: int | None) -> float:
        """Mean over prompts and noises."""
        found = self._scores(key)
        if found is None:
            return nan
        return fmean(value for row in found for value in (row if noise is None else row[noise : noise + 1]))

    def _scores(self, key: str) -> Sequence[Sequence[float]] | None:
        """(prompts, noises); None: not measured."""
        result = self._result(key) if key else None
        if result is None:
            return None
        found: Sequence[Sequence[float]] = result["scores"][self._digest]
        return found

    def _result(self, key: str) -> Mapping[str, Any] | None:
        if self._results.get(key) is None:
            self._results[key] = self._folder.result(key)
        return self._results[key]
