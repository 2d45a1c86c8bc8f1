"""From a study file to cells and jobs: reads everything, writes nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from clora_ext.config.settings import Settings
from clora_ext.scoring import Scorer, open_scorer

from .base import StudyBase, find_study_base
from .cell import Cell, Lesson, first_strategy
from .concept import StudyConcept, find_concept
from .file import StrategyEntry, StudyFile
from .keys import key_of
from .schedule import Job, JobKind, Run, Schedule
from .settings import settings_of

__all__ = ["StudyPlan", "plan_study"]


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """Everything that a worker needs.

    Attributes:
        study: the file.
        base: the model that every run starts from.
        scorers: ready to score, by the names that the file gives them.
        concepts: by name.
        cells: by key.
        schedule: the jobs.
    """

    study: StudyFile
    base: StudyBase
    scorers: Mapping[str, Scorer]
    concepts: Mapping[str, StudyConcept]
    cells: Mapping[str, Cell]
    schedule: Schedule


def plan_study(study: StudyFile, text: str, place: Path, drawn: Mapping[str, Path]) -> StudyPlan:
    """Find base, scorers and pictures, and every job.

    Args:
        study: the file.
        text: that it was read from.
        place: folder from which its paths go.
        drawn: folders of concepts that are drawn, by name; their references lie in ``held_out`` beside them.

    Raises:
        CloraError: something that the study names is not there or cannot be used.
    """
    base = find_study_base(study, place)
    scorers = {name: open_scorer(name) for name in study.evaluation.scorers}
    concepts = {}
    for entry in study.concepts:
        folder = drawn[entry.name] if entry.folder is None else place / entry.folder
        references = None if entry.references is None else place / entry.references
        if entry.folder is None:
            references = folder.parent / "held_out" / folder.name
        concepts[entry.name] = find_concept(entry, folder, references)
    jobs = _Jobs(study, base, scorers, concepts)
    schedule = jobs.schedule(text, place)
    return StudyPlan(study, base, scorers, concepts, jobs.cells, schedule)


@dataclass(slots=True)
class _Jobs:
    """Gathers every job once, in the order in which it is first asked for."""

    study: StudyFile
    base: StudyBase
    scorers: Mapping[str, Scorer]
    concepts: Mapping[str, StudyConcept]
    cells: dict[str, Cell] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)

    def schedule(self, text: str, place: Path) -> Schedule:
        """All of it."""
        origin = Cell(self.base.sha256)
        base = {name: self._score(origin, name) for name in self.concepts}
        ceiling = {name: self._add("ceiling", origin, name, self._judged(name)) for name in self.concepts}
        isolated = {
            str(seed): dict(self._isolated(seed))
            for seed in self.study.grid.seeds
            if self.study.grid.isolated
        }
        runs = [
            self._run(entry, order, concepts, seed)
            for order, concepts in self.study.orders().items()
            for seed in self.study.grid.seeds
            for entry in self.study.strategies
        ]
        return Schedule(
            jobs=tuple(self.jobs.values()),
            runs=tuple(runs),
            base=base,
            ceiling=ceiling,
            isolated=isolated,
            scorers={name: one.digest for name, one in self.scorers.items()},
            concepts={name: (one.fingerprint, one.judged_by) for name, one in self.concepts.items()},
            study=text,
            place=str(place.resolve()),
        )

    def _isolated(self, seed: int) -> Iterator[tuple[str, str]]:
        """Each concept by a model that learns nothing else, as every plain strategy begins."""
        plain = StrategyEntry("merge")
        for name in self.concepts:
            cell = self._taught(Cell(self.base.sha256), plain, name, seed)
            yield name, self._score(cell, name)

    def _run(self, entry: StrategyEntry, order: str, concepts: Sequence[str], seed: int) -> Run:
        cell, cells, scores = Cell(self.base.sha256), [], []
        for number, name in enumerate(concepts):
            cell = self._taught(cell, entry, name, seed)
            cells.append(cell)
            scored = self._scored_after(number, concepts)
            scores.append([self._score(cell, one) if one in scored else "" for one in concepts])
        return Run(
            strategy=entry.title,
            order=order,
            seed=seed,
            concepts=tuple(concepts),
            models=tuple(cell.key for cell in cells),
            scores=tuple(map(tuple, scores)),
            drift=self._drift(cell),
        )

    def _scored_after(self, number: int, concepts: Sequence[str]) -> Sequence[str]:
        """What is scored by the model after the concept of that number, counted from 0."""
        how, last = self.study.evaluation, len(concepts) - 1
        if how.after and number + 1 not in how.after and number != last:
            return concepts[number : number + 1]
        return concepts if how.future else concepts[: number + 1]

    def _taught(self, cell: Cell, entry: StrategyEntry, concept: str, seed: int) -> Cell:
        """The cell after one lesson more, and its job."""
        settings = self._settings(entry, seed, is_first=not cell.lessons)
        taught = Cell(cell.base, (*cell.lessons, Lesson(self.concepts[concept], settings)))
        needs = (cell.key,) if cell.lessons else ()
        key = taught.key
        self.cells[key] = taught
        self.jobs.setdefault(key, Job(key, "teach", f"teach {taught.words}", key, needs, concept))
        return taught

    def _settings(self, entry: StrategyEntry, seed: int, *, is_first: bool) -> Settings:
        strategy = first_strategy(entry.name) if is_first else entry.name
        options = entry.options if strategy == entry.name else {}
        return settings_of(self.study, self.base, entry, strategy, options, seed)

    def _score(self, cell: Cell, concept: str) -> str:
        return self._add("score", cell, concept, self._judged(concept))

    def _drift(self, cell: Cell) -> str:
        prompts = self.study.evaluation.drift_prompts
        return self._add("drift", cell, "", {"prompts": prompts, **self._drawn()}) if prompts else ""

    def _add(self, kind: JobKind, cell: Cell, concept: str, asked: Mapping[str, object]) -> str:
        """The job's key; the job itself is added once."""
        key = key_of(kind, cell.key, asked)
        needs = (cell.key,) if cell.lessons else ()
        self.cells.setdefault(cell.key, cell)
        words = f"{kind} {concept}: {cell.words}" if concept else f"{kind}: {cell.words}"
        self.jobs.setdefault(key, Job(key, kind, words, cell.key, needs, concept))
        return key

    def _judged(self, concept: str) -> Mapping[str, object]:
        """What a concept's score depends on beside the model."""
        return {"judged_by": self.concepts[concept].judged_by, **self._drawn()}

    def _drawn(self) -> Mapping[str, object]:
        """How pictures are drawn and looked at."""
        evaluation = asdict(self.study.evaluation)
        how = {name: evaluation[name] for name in ("noises", "first_seed", "steps", "guidance", "size")}
        return {**how, "scorers": sorted({one.digest for one in self.scorers.values()})}
