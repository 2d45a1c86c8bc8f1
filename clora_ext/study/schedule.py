"""The jobs of a study and how their results make runs: one file, read with no torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from clora_ext.errors import ProjectError
from clora_ext.project.storage import replace_text

__all__ = ["PLAN", "Job", "JobKind", "Run", "Schedule", "read_schedule"]

PLAN = "plan.json"
"""Its name in the study's folder."""

JobKind = Literal["teach", "score", "ceiling", "drift"]
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work that ends with one result.

    Attributes:
        key: of its content, and of its result.
        kind: ``teach``: one concept on a model; ``score``: one concept's drawings by a model; ``ceiling``:
            the references as the base's autoencoder renders them; ``drift``: drawings of what nobody taught.
        words: for people.
        model: key of the model that is asked, or that is made.
        needs: keys of the models that must have been taught before; the base is always there.
        concept: name; empty: of none.
    """

    key: str
    kind: JobKind
    words: str
    model: str
    needs: tuple[str, ...] = ()
    concept: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One strategy with one order and one seed.

    Attributes:
        strategy: its label.
        order: what tables call the order.
        seed: of the training.
        concepts: names, in that order.
        models: keys of the models after each.
        scores: key of the score of each concept by each model, (T, T); empty: not measured.
        drift: key of the last model's drift; empty: not measured.
    """

    strategy: str
    order: str
    seed: int
    concepts: tuple[str, ...]
    models: tuple[str, ...]
    scores: tuple[tuple[str, ...], ...]
    drift: str = ""


@dataclass(frozen=True, slots=True)
class Schedule:
    """All of it.

    Attributes:
        jobs: every job once, what others need before them.
        runs: what the report is about.
        base: keys of the base's scores by concept.
        ceiling: keys of the references' own scores by concept.
        isolated: keys of the isolated models' scores by seed (as text) and concept; empty: not asked for.
        scorers: digests by the names that the file gives them.
        concepts: what each concept's pictures and prompts were, by name.
        study: the study file's text.
        place: folder from which the study file's paths go.
        format: of this file.
    """

    jobs: tuple[Job, ...]
    runs: tuple[Run, ...]
    base: Mapping[str, str]
    ceiling: Mapping[str, str]
    isolated: Mapping[str, Mapping[str, str]]
    scorers: Mapping[str, str]
    concepts: Mapping[str, tuple[str, str]]
    study: str
    place: str
    format: int = _FORMAT

    def write(self, folder: Path) -> None:
        """Into the study's folder. StorageError: the disk is full or refuses."""
        replace_text(folder / PLAN, json.dumps(asdict(self), indent=1) + "\n")

    def of_kind(self, kind: JobKind) -> Sequence[Job]:
        """The jobs of one kind, in their order."""
        return [job for job in self.jobs if job.kind == kind]


def read_schedule(folder: Path) -> Schedule:
    """What :meth:`Schedule.write` has written.

    Raises:
        ProjectError: there is no study in the folder, or its plan is damaged or of a newer clora.
    """
    file = folder / PLAN
    if not file.is_file():
        raise ProjectError(
            f"{folder} holds no study", fix=f"begin one: clora study run FILE --output {folder}"
        )
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        version = found["format"]
        if version == _FORMAT:
            return _schedule(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{file} is damaged: {error}"
        raise ProjectError(message, fix="run the study again: it writes its plan anew") from error
    raise ProjectError(f"{file} is of format {version}, this clora knows {_FORMAT}", fix="update clora")


def _schedule(found: Mapping[str, Any]) -> Schedule:
    jobs = tuple(Job(**{**one, "needs": tuple(one["needs"])}) for one in found["jobs"])
    if not all(job.kind in get_args(JobKind) for job in jobs):
        message = "a job of an unknown kind"
        raise ValueError(message)
    runs = tuple(_run(one) for one in found["runs"])
    concepts = {name: (taught, judged) for name, (taught, judged) in found["concepts"].items()}
    return Schedule(**{**found, "jobs": jobs, "runs": runs, "concepts": concepts})


def _run(found: Mapping[str, Any]) -> Run:
    lists = {name: tuple(found[name]) for name in ("concepts", "models")}
    return Run(**{**found, **lists, "scores": tuple(tuple(row) for row in found["scores"])})
