"""The tables of a study's report, in Markdown."""

from collections.abc import Iterator, Sequence
from math import isnan
from statistics import fmean

from clora_ext.metrics.spread import Spread, bootstrap_over_orders, paired_difference

from .forecast import Forecast
from .measured import Measured

__all__ = [
    "FIGURES",
    "concepts_table",
    "costs_table",
    "differences_table",
    "drift_table",
    "figures_table",
    "forecasts_table",
    "markdown",
    "spread_table",
]

FIGURES = ("average_score", "plasticity", "paper_forgetting")
"""What is told with its spread and in differences; the other figures stand as means."""

_MISSING = "-"
_MORE = (
    "chaudhry_forgetting",
    "mammoth_forgetting",
    "avalanche_forgetting",
    "backward_transfer",
    "forward_transfer",
    "intransigence",
)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table.

    >>> print(markdown(["a", "b"], [["1", "2"]]))
    | a | b |
    |---|---|
    | 1 | 2 |
    """
    lines = [head, *rows]
    text = [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines]
    return "\n".join([text[0], "|" + "---|" * len(head), *text[1:]])


def spread_table(measured: Measured, *, normalised: bool) -> str:
    """Mean with both standard deviations and the interval over orders, for every strategy."""
    rows = [
        [strategy, *_spreads(measured, strategy, normalised=normalised)] for strategy in measured.strategies
    ]
    head = [part for name in FIGURES for part in (_words(name), "std, ddof 0 / 1", "95 % over orders")]
    return markdown(["strategy", "runs", *head], rows)


def _spreads(measured: Measured, strategy: str, *, normalised: bool) -> Iterator[str]:
    done = measured.figure(FIGURES[0], strategy, normalised=normalised)
    yield f"{len(done)} of {len(measured.runs(strategy))}"
    for name in FIGURES:
        values = measured.figure(name, strategy, normalised=normalised)
        spread, interval = Spread.of(list(values.values())), bootstrap_over_orders(values)
        yield _number(spread.mean)
        yield f"{_number(spread.population)} / {_number(spread.sample)}"
        yield _MISSING if isnan(interval.low) else f"{_number(interval.low)} to {_number(interval.high)}"


def figures_table(measured: Measured, *, normalised: bool) -> str:
    """All definitions side by side, means over runs."""
    names = (*FIGURES, *_MORE)
    means = {name: measured.means(name, normalised=normalised) for name in names}
    rows = [[one, *(_number(means[name][one]) for name in names)] for one in measured.strategies]
    return markdown(["strategy", *map(_words, names)], rows)


def differences_table(measured: Measured, *, normalised: bool) -> str:
    """Every strategy against the first one, in pairs of the same order, seed and noise."""
    reference, *others = measured.strategies
    rows = []
    for one in others:
        row = [f"{one} - {reference}"]
        for name in FIGURES:
            first, second = (
                measured.figure_by_noise(name, strategy, normalised=normalised)
                for strategy in (one, reference)
            )
            found = paired_difference(first, second)
            row += [
                f"{_number(found.spread.mean)} +- {_number(found.error)}",
                f"{found.wins} of {found.spread.count}",
            ]
        rows.append(row)
    head = [part for name in FIGURES for part in (_words(name), "higher in")]
    return markdown(["difference", *head], rows)


def concepts_table(measured: Measured) -> str:
    """Where every concept's scale begins and ends."""
    rows = []
    for name in measured.schedule.concepts:
        scores = measured.concept_scores(name)
        rows.append([name, f"{measured.pictures(name)}", *(_number(score) for score in scores)])
    return markdown(["concept", "drawings", "base", "isolated", "references themselves"], rows)


def costs_table(measured: Measured) -> str:
    """Seconds and bytes by strategy."""
    rows = []
    for one in measured.strategies:
        cost = measured.cost(one)
        rows.append(
            [
                one,
                _MISSING if isnan(cost.seconds) else f"{cost.seconds:.0f} s",
                _bytes(cost.peak_bytes),
                _bytes(cost.strategy_bytes),
                _bytes(cost.memory_bytes),
                cost.state_level,
            ]
        )
    head = [
        "strategy",
        "training of a concept",
        "memory at the peak",
        "own state",
        "state with residual",
        "level",
    ]
    return markdown(head, rows)


def drift_table(measured: Measured) -> str:
    """How far the last models have moved in what nobody taught."""
    rows = []
    for one in measured.strategies:
        found = measured.drift(one)
        columns = [fmean(column) for column in zip(*found, strict=True)] if found else [float("nan")] * 3
        rows.append([one, *map(_number, columns)])
    return markdown(
        ["strategy", "kernel distance", "1 - cosine, in pairs", "latents: distance / length, in pairs"], rows
    )


def forecasts_table(measured: Measured, forecasts: Sequence[Forecast]) -> str:
    """What was forecast, and what came out."""
    rows = []
    for one in forecasts:
        found = one.judged(measured.means(one.figure, normalised=one.normalised))
        verdict = {True: "held", False: "**did not hold**", None: "not measured yet"}[found.held]
        compared = isinstance(one.below or one.above, str)
        value = f"{_number(found.value)} against {_number(found.bound)}" if compared else _number(found.value)
        rows.append([one.words, one.why or _MISSING, value, verdict])
    return markdown(["forecast", "because", "came out", ""], rows)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _number(value: float) -> str:
    """Three digits behind the point."""
    return _MISSING if isnan(value) else f"{value:.3f}"


def _bytes(value: float) -> str:
    if isnan(value):
        return _MISSING
    size, units = value, iter(("B", "kB", "MB", "GB"))
    unit = next(units)
    while size >= 1000 and unit != "GB":  # noqa: PLR2004 - SI
        size, unit = size / 1000, next(units)
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
