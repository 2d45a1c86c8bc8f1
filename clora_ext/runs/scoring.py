"""Which scorer a run asks, and whether that can tell what was asked to be told."""

from collections.abc import Iterator
from math import isfinite
from pathlib import Path

from clora_ext.errors import Forgotten, ProjectError, UsageError
from clora_ext.project import ConceptRecord, Project
from clora_ext.project.outcome import Outcome
from clora_ext.scoring import check_scorer, open_scorer

from .context import ProjectContext
from .lora_material import LoraMaterial
from .plan import Plan
from .plan_basis import PlanBasis
from .request import Request

__all__ = ["check_kept", "check_scoring", "check_yardsticks", "scorer_name", "scoring_problems"]

_DEMO = "demo"


def scorer_name(context: ProjectContext, request: Request) -> str | None:
    """The scorer to ask: as named, or the demo model's own; None: there is none."""
    return request.scorer or (_DEMO if context.base.kind == _DEMO else None)


def scoring_problems(request: Request) -> Iterator[str]:
    """What is wrong about what is asked of a scorer."""
    most = request.max_forgetting
    if most is not None and not (isfinite(most) and most >= 0):
        yield f"the largest forgetting is {most:g}: choose a share such as 0.1, 0 for none"


def check_scoring(basis: PlanBasis) -> None:
    """Make sure that the scorer is there, and can judge if something depends on its judgement.

    Raises:
        UsageError: there is none, or it knows another world than this model's.
        CheckpointError: its weights cannot be used.
        ProjectError: of an earlier concept there is nothing to compare with.
    """
    request = basis.request
    name = scorer_name(basis.context, request)
    if request.scorer == _DEMO and basis.context.base.kind != _DEMO:
        message = "the scorer demo knows the demo model's world alone, and this is another model"
        raise UsageError(message, fix="name another one: --scorer dinov2:FOLDER")
    if request.scorer is not None:
        check_scorer(request.scorer)
    if name not in {None, _DEMO} and not basis.settings.sampling.has_sheet:
        message = f"{name} tells what is learned by the samples of the contact sheet, and there is to be none"
        raise UsageError(message, fix="leave out --sheet none or --scorer")
    if request.max_forgetting is None:
        return
    if name is None:
        message = "what is forgotten cannot be told: no scorer for this model comes with clora"
        raise UsageError(message, fix="name one: --scorer dinov2:FOLDER; or leave out --max-forgetting")
    if not basis.settings.sampling.kept_count:
        message = "what is forgotten cannot be told without drawing: --kept-count is 0"
        raise UsageError(message, fix="leave out --kept-count or --max-forgetting")
    for record in () if basis.project is None else basis.project.held:
        if record.sheet or name != _DEMO:  # the demo model's own scorer can do without
            _check_sheet(basis.project, record)


def _check_sheet(project: Project | None, record: ConceptRecord) -> None:
    from clora_ext.sampling.contact_sheet import read_cells

    if record.sheet is None:
        message = f"what is left of concept {record.number} ({_trigger(record)}) cannot be told: it was "
        message += "learned without a contact sheet"
        raise ProjectError(message, fix="leave out --max-forgetting")
    sheet = (Path() if project is None else project.sheets_dir) / record.sheet
    if read_cells(sheet, 2) is None:
        message = f"what is left of concept {record.number} ({_trigger(record)}) cannot be told: its contact "
        message += f"sheet {sheet} is not there"
        raise ProjectError(message, fix="restore it from a backup, or leave out --max-forgetting")


def check_yardsticks(plan: Plan, project: Project) -> None:
    """Make sure, before anything is trained, that the scorer has seen every earlier concept being learned.

    Raises:
        ProjectError: it cannot tell what was drawn when a concept was learned from what was drawn before.
    """
    from clora_ext.sampling.earlier import yardstick

    name, count = scorer_name(plan.context, plan.request), plan.settings.sampling.kept_count
    if plan.request.max_forgetting is None or name is None or not project.concepts:
        return
    scorer = open_scorer(name)
    for record in project.held:
        found = yardstick(project, record, scorer, count)
        if found is None or not found.is_sure:
            message = f"what is left of concept {record.number} ({_trigger(record)}) cannot be told: the "
            message += f"scorer {scorer.name} sees no difference between what was drawn before and after it"
            raise ProjectError(message, fix="name another --scorer, or leave out --max-forgetting")


def check_kept(plan: Plan, project: Project, outcome: Outcome) -> None:
    """Stop where an earlier concept would lose more than was allowed.

    Raises:
        Forgotten: one would; all that would are named.
    """
    most = plan.request.max_forgetting
    if most is None:
        return
    records = {record.number: record for record in project.concepts}
    lost = [one for one in outcome.kept if one.share < 1 - most]
    if not lost:
        return
    words = ", ".join(
        f"{one.share:.2f} of concept {one.number} ({_trigger(records[one.number])})" for one in lost
    )
    message = f"the model would keep {words} of what it had when learned, at least {1 - most:.2f} was asked "
    message += f"for; scored by {lost[0].scorer}, nothing was changed"
    fix = "choose another --strategy or its options, or fewer --steps"
    if not isinstance(plan.material, LoraMaterial):
        fix += "; or fold it in all the same: the training is saved, the same command with a larger "
        fix += "--max-forgetting goes on from there"
    raise Forgotten(message, fix=fix)


def _trigger(record: ConceptRecord) -> str:
    return f"{record.token} {record.class_name}"
