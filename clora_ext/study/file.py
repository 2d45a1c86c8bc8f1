"""A study file: what is taught in which orders by which strategies, how it is judged, what is forecast."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Le, MinLen

from clora_ext.config.strategy_names import name_problem
from clora_ext.errors import SettingsError, UsageError

from .forecast import Forecast
from .reading import read_table

__all__ = ["ConceptEntry", "Evaluation", "Grid", "StrategyEntry", "StudyFile", "read_study"]

_STRICT: Mapping[str, Any] = {"extra": "forbid", "strict": True, "allow_inf_nan": False}
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class ConceptEntry:
    """One concept.

    Attributes:
        name: that orders call it by.
        folder: its pictures, from the folder of the study file; None: it is drawn.
        drawn: name of a concept that clora draws for the demo model; None: there is a folder.
        token: the word that will call it.
        class_name: what kind of thing it is.
        references: a folder of pictures that drawings are compared with; None: the ones that are taught,
            which rewards what was learned by heart.
        prompts: what is drawn, with ``{token}`` and ``{class}`` to be filled in; empty: the captions of the
            references, each compared with the pictures that bear it.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _STRICT

    name: Annotated[str, MinLen(1)]
    token: str
    class_name: str
    folder: str | None = None
    drawn: str | None = None
    references: str | None = None
    prompts: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class StrategyEntry:
    """One way of teaching.

    Attributes:
        name: of the strategy.
        label: what tables call it; empty: its name.
        options: the strategy's own.
        settings: knobs that differ from the study's for this strategy alone.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _STRICT

    name: str
    label: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What tables call it."""
        return self.label or self.name


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How models are judged: the same prompts and noises for every one of them.

    Attributes:
        scorers: image encoders, as :func:`clora_ext.scoring.open_scorer` names them; forecasts and pictures
            are about the first.
        noises: pictures a prompt.
        first_seed: of the noises, which count up from it.
        steps: denoising steps.
        guidance: classifier-free guidance scale.
        size: side of the pictures, pixels; None: the model's own.
        after: numbers of concepts after which everything taught so far is scored; empty: after each. A
            concept is scored right after it was taught and at the end in any case.
        future: whether concepts are scored before they are taught too, for forward transfer.
        drift_prompts: of things that nobody teaches; how far the last model has moved from the base in them.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _STRICT

    scorers: Annotated[list[str], MinLen(1)] = field(default_factory=lambda: ["demo"])
    noises: Annotated[int, Ge(1), Le(1000)] = 8
    first_seed: Annotated[int, Ge(0)] = 101
    steps: Annotated[int, Ge(1), Le(1000)] = 20
    guidance: Annotated[float, Ge(1)] = 4.0
    size: Annotated[int, Ge(8)] | None = None
    after: list[Annotated[int, Ge(1)]] = field(default_factory=list)
    future: bool = False
    drift_prompts: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Grid:
    """Orders and seeds; every strategy is run with each order and each seed.

    Attributes:
        seeds: of the training.
        orders: lists of concepts' names.
        shuffles: further orders, each all concepts shuffled by ``random.seed(number)``, as the paper does.
        isolated: whether each concept is also taught alone, which normalised scores need.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _STRICT

    seeds: Annotated[list[Annotated[int, Ge(0)]], MinLen(1)] = field(default_factory=lambda: [0])
    orders: list[list[str]] = field(default_factory=list)
    shuffles: list[int] = field(default_factory=list)
    isolated: bool = True


@dataclass(frozen=True, slots=True)
class StudyFile:
    """The whole file.

    Attributes:
        title: of the report.
        about: what it is for, Markdown; stands above the report's tables.
        forecast: what was expected before anything was run, and why, Markdown.
        base: the model that every run starts from; None: the built-in demo model.
        settings: knobs of :class:`clora_ext.config.settings.Settings` by name.
        evaluation: how models are judged.
        grid: orders and seeds.
        concepts: what is taught.
        strategies: how.
        forecasts: single forecasts that the report judges by what came out.
        format: of the file.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _STRICT

    title: Annotated[str, MinLen(1)]
    concepts: Annotated[list[ConceptEntry], MinLen(1)]
    strategies: Annotated[list[StrategyEntry], MinLen(1)]
    grid: Grid = field(default_factory=Grid)
    evaluation: Evaluation = field(default_factory=Evaluation)
    about: str = ""
    forecast: str = ""
    base: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    forecasts: list[Forecast] = field(default_factory=list)
    format: Annotated[int, Ge(_FORMAT), Le(_FORMAT)] = _FORMAT

    def orders(self) -> dict[str, tuple[str, ...]]:
        """The orders by what tables call them: "order 1" and on as listed, "shuffle N" for those drawn.

        >>> entries = [ConceptEntry(name, "sks", "dog", name) for name in "abc"]
        >>> StudyFile("t", entries, [], Grid(orders=[["b", "a"]], shuffles=[1])).orders()
        {'order 1': ('b', 'a'), 'shuffle 1': ('b', 'c', 'a')}
        """
        names = [one.name for one in self.concepts]
        found = {f"order {number}": tuple(order) for number, order in enumerate(self.grid.orders, start=1)}
        for number in self.grid.shuffles:
            shuffled = list(names)
            Random(number).shuffle(shuffled)
            found[f"shuffle {number}"] = tuple(shuffled)
        return found or {"order 1": tuple(names)}


def read_study(text: str, where: Path | str) -> StudyFile:
    """The study that a TOML text describes.

    Args:
        text: of the file.
        where: the file, for complaints.

    Raises:
        UsageError: it is no TOML.
        SettingsError: unknown keys, wrong values, names that nothing bears: all of them at once.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        values = tomlkit.parse(text).unwrap()
    except (TOMLKitError, RecursionError) as error:
        raise UsageError(f"{where} is no TOML: {error}", fix="docs/studies.md has an example") from error
    study = read_table(StudyFile, values, str(where))
    problems = [f"{where}: {problem}" for problem in _problems(study)]
    if problems:
        raise SettingsError(problems)
    return study


def _problems(study: StudyFile) -> Iterator[str]:
    """What no single field can tell."""
    names = [one.name for one in study.concepts]
    yield from (f"two concepts are called {name!r}" for name in _doubles(names))
    yield from (
        f"two strategies are called {t!r}: give one a label"
        for t in _doubles([s.title for s in study.strategies])
    )
    tokens = _doubles([one.token.casefold() for one in study.concepts])
    yield from (f"two concepts have the token {token!r}" for token in tokens)
    for one in study.concepts:
        if (one.folder is None) == (one.drawn is None):
            yield f"concept {one.name!r} needs either a folder or drawn"
    for order in study.grid.orders:
        yield from (f"an order names {name!r}, which is no concept" for name in order if name not in names)
        yield from (f"an order teaches {name!r} twice" for name in _doubles(order))
        if not order:
            yield "an order is empty"
    for entry in study.strategies:
        problem = name_problem(entry.name)
        if problem is not None:
            yield "; ".join(problem)
    titles = [one.title for one in study.strategies]
    for forecast in study.forecasts:
        yield from forecast.problems(titles, isolated=study.grid.isolated, future=study.evaluation.future)


def _doubles(names: list[str]) -> list[str]:
    return [name for number, name in enumerate(names) if name in names[:number]]
