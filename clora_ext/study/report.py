"""A study's report: Markdown with tables and pictures, what was forecast and what came out."""

from collections.abc import Iterator
from pathlib import Path

from clora_ext.errors import UsageError, writing
from clora_ext.project.storage import replace_text

from .file import StudyFile, read_study
from .measured import Measured
from .pictures import curves, frontier, heat_maps
from .results import StudyFolder
from .schedule import PLAN, Schedule, read_schedule
from .tables import (
    concepts_table,
    costs_table,
    differences_table,
    drift_table,
    figures_table,
    forecasts_table,
    spread_table,
)

__all__ = ["write_report"]

_MARK = "<!-- written by `clora study report`: changes by hand are lost -->"


def write_report(folder: Path, target: Path | None = None) -> Path:
    """Write the report of what a study has measured so far; give its file.

    Args:
        folder: of the study.
        target: the Markdown file; None: ``report.md`` in the folder. Its pictures lie in a folder beside it
            that bears its name, or in ``images`` where there is such a folder.

    Raises:
        ProjectError: there is no study, or a result is damaged.
        UsageError: the target is something that no report has written.
        StorageError: the disk is full or refuses.
    """
    schedule, store = read_schedule(folder), StudyFolder(folder)
    study = read_study(schedule.study, folder / PLAN)
    target = folder / "report.md" if target is None else target
    _check(target)
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    measured = Measured(schedule, store, next(iter(schedule.scorers)))
    pictures = _write_pictures(measured, target)
    parts = [*_head(study, schedule, store), *_judged(study, measured), *_pictured(measured, pictures)]
    for scorer in schedule.scorers:
        parts += _tables(study, Measured(schedule, store, scorer), several=len(schedule.scorers) > 1)
    parts += [
        "## Cost",
        "One concept after the first; the state is what lies beside the model.",
        costs_table(measured),
    ]
    replace_text(target, "\n\n".join(part.strip() for part in parts if part.strip()) + "\n")
    return target


def _check(target: Path) -> None:
    """Only a report is replaced."""
    if target.exists() and _MARK not in target.read_text(encoding="utf-8", errors="replace"):
        raise UsageError(f"{target} exists and is no report of a study", fix="choose another --output")


def _head(study: StudyFile, schedule: Schedule, store: StudyFolder) -> Iterator[str]:
    """Title, what it is about, how much of it is done."""
    done = sum(store.is_done(job.key) for job in schedule.jobs)
    yield f"# {study.title}"
    yield _MARK
    yield study.about
    if done < len(schedule.jobs):
        yield f"**Unfinished: {done} of {len(schedule.jobs)} jobs are done.** Means are over finished runs."
    orders = "\n".join(f"- {name}: {', '.join(order)}" for name, order in study.orders().items())
    seeds = ", ".join(map(str, study.grid.seeds))
    how = study.evaluation
    yield (
        f"{len(study.strategies)} strategies, {len(study.orders())} orders, training seeds {seeds}; every "
        f"prompt is drawn with the same {how.noises} noises by every model ({how.steps} steps, guidance "
        f"{how.guidance:g})."
    )
    yield f"Orders:\n\n{orders}"


def _judged(study: StudyFile, measured: Measured) -> Iterator[str]:
    if study.forecast:
        yield "## What was forecast"
        yield study.forecast
    if study.forecasts:
        yield "## What came out"
        yield forecasts_table(measured, study.forecasts)


def _pictured(measured: Measured, pictures: dict[str, str]) -> Iterator[str]:
    scale = (
        "Scores are shares of the way from the base (0) to a model that was taught the concept alone (1)."
        if measured.is_normalised
        else "Scores are mean cosines with the references."
    )
    yield f"## Pictures\n\nScorer: {measured.scorer}. {scale}"
    yield f"![Mean score of what was taught so far, over the number of concepts]({pictures['curves']})"
    yield f"![Plasticity against forgetting]({pictures['frontier']})"
    yield f"![For each strategy, scores of every concept by every model]({pictures['heat']})"
    yield (
        "*Heat maps: mean over the runs, by the place in the order, not by the concept. "
        "Thin lines in the plot before: one standard deviation (ddof 1) over runs.*"
    )


def _tables(study: StudyFile, measured: Measured, *, several: bool) -> Iterator[str]:
    """All tables of one scorer."""
    by = f" by {measured.scorer}" if several else ""
    if measured.is_normalised:
        yield f"## Normalised scores{by}"
        yield "(score - base) / (isolated - base); forgetting and plasticity of these shares."
        yield spread_table(measured, normalised=True)
        yield (
            f"Against {measured.strategies[0]}, in pairs of the same order, seed and noise, with the "
            "standard error of as many independent pairs:"
        )
        yield differences_table(measured, normalised=True)
        yield "Every definition in use, means over the runs:"
        yield figures_table(measured, normalised=True)
    yield f"## Scores{by}"
    yield "Mean cosines of drawings with references; ddof 0 as the paper reports, ddof 1 beside it."
    yield spread_table(measured, normalised=False)
    yield figures_table(measured, normalised=False)
    yield "The scale of each concept:"
    yield concepts_table(measured)
    same = [one.name for one in study.concepts if one.folder is not None and one.references is None]
    if same:
        yield (
            f"References of {', '.join(same)} are the pictures that were taught: such scores also reward "
            "backgrounds that were learned by heart."
        )
    if study.evaluation.drift_prompts:
        yield f"## Drift{by}"
        yield "Drawings of what nobody taught, by the last model against the base, with the same noises."
        yield drift_table(measured)


def _write_pictures(measured: Measured, target: Path) -> dict[str, str]:
    """Write the PNG files; give each one's path from the report."""
    images = target.parent / "images"
    if not images.is_dir():
        images = target.with_suffix("")
    normalised = measured.is_normalised
    drawn = {
        "curves": curves(measured, normalised=normalised),
        "frontier": frontier(measured, normalised=normalised),
        "heat": heat_maps(measured, normalised=normalised),
    }
    found = {}
    with writing(images):
        images.mkdir(exist_ok=True)
        for name, image in drawn.items():
            file = images / f"{target.stem}-{name}.png"
            image.quantize(64).save(file, format="PNG", optimize=True)
            found[name] = f"{images.name}/{file.name}"
    return found
