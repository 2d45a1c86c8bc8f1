"""Teach the evolving model one more concept: the straight line through all rooms."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from clora_ext.config.processes import check_single_process
from clora_ext.events import Note, Sink, Stage, ignore
from clora_ext.project import ConceptRecord, Project, State

from .finish import fold_concept, loss_ends, make_record, verify, write_contact_sheet
from .import_lora import import_lora
from .make_plan import plan_within
from .plan import LoraMaterial, Plan
from .prepared import PreparedRun, prepare
from .request import Request
from .result import Result
from .stopped import tell_what_is_given_up, telling_what_is_saved
from .train_pictures import train_pictures

if TYPE_CHECKING:
    from clora_ext.evolving.trained_concept import TrainedConcept

__all__ = ["add_concept"]


def add_concept(
    request: Request, sink: Sink = ignore, on_plan: Callable[[Plan], None] = lambda plan: None
) -> Result:
    """Train an adapter for the request's pictures, or take its LoRA, and fold it into the project's model.

    The project stays as it was until the very end; a stopped run resumes when it is asked for again, and
    what has been learned already is not learned twice.

    Args:
        request: what to do.
        sink: told what happens; may raise Cancelled to stop.
        on_plan: shown the plan before anything is loaded; may raise to stop.

    Raises:
        CloraError: of the kind and with the remedy that fits what is wrong.
    """
    began = time.monotonic()
    check_single_process()  # before the project is locked: each of the processes says why
    with Project.writing(request.project) as project:
        plan = plan_within(project, request)
        if plan.learned is not None:
            sink(Note(plan.learned_note))
            return _stored(project, plan.learned)
        on_plan(plan)
        with telling_what_is_saved(plan, project):
            state, sheet, losses = _carry_out(plan, project, sink)
        project.commit(make_record(plan, state, sheet.name, losses), state, keep=request.keep)
    first, last = loss_ends(losses)
    return Result(
        project=request.project,
        checkpoint=project.checkpoints_dir / state.checkpoint,
        content_hash=state.content_hash,
        number=plan.number,
        trigger_prompt=plan.sample_prompt,
        sheet=sheet,
        first_loss=first,
        last_loss=last,
        seconds=time.monotonic() - began,
    )


def _carry_out(plan: Plan, project: Project, sink: Sink) -> tuple[State, Path, tuple[float, ...]]:
    """The new state, its contact sheet and every step's loss; the project does not refer to them yet."""
    tell_what_is_given_up(plan, project, sink)
    run = prepare(plan, project, sink)
    concept, losses = _learn(run, sink)
    state = fold_concept(run, concept, sink)
    after = verify(run, state, sink)
    sheet = project.new_sheet(plan.number, plan.concept.token, plan.concept.class_name)
    write_contact_sheet(run, after, losses, sheet, sink)
    sink(Stage("commit"))
    return state, sheet, losses


def _learn(run: PreparedRun, sink: Sink) -> "tuple[TrainedConcept, tuple[float, ...]]":
    """The new concept, by training or from a LoRA, and the loss of every step."""
    if isinstance(run.plan.material, LoraMaterial):
        return import_lora(run, run.plan.material, sink), ()
    return train_pictures(run, sink)


def _stored(project: Project, record: ConceptRecord) -> Result:
    """What the run that taught the concept has given."""
    checkpoint, current = project.checkpoint_path, project.current
    assert checkpoint is not None  # a project with concepts has a state  # noqa: S101
    assert current is not None  # noqa: S101
    trigger = f"{record.token} {record.class_name}"
    return Result(
        project=project.folder,
        checkpoint=checkpoint,
        content_hash=current.content_hash,
        number=record.number,
        trigger_prompt=record.images[0].caption if record.images else f"a photo of {trigger}",
        sheet=project.sheets_dir / (record.sheet or "none"),
        first_loss=record.first_loss,
        last_loss=record.last_loss,
        seconds=0.0,
    )
