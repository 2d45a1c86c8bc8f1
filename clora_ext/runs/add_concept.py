"""Teach the evolving model one more concept: the straight line through all rooms."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clora_ext.config.processes import ALONE, Place, check_single_process, own_place
from clora_ext.errors import UsageError
from clora_ext.events import Note, Sink, Stage, ignore
from clora_ext.project import ConceptRecord, Project, State
from clora_ext.project.concept_files import ConceptFiles, concept_files, read_outcome_of
from clora_ext.project.outcome import Outcome
from clora_ext.sampling.recorded import recorded_prompt

from .baseline import baseline_of_current
from .finish import fold_concept, make_record, verify, write_contact_sheet
from .follow import announce
from .import_lora import import_lora
from .keep_delta import keep_delta
from .lora_material import LoraMaterial
from .make_plan import plan_within
from .plan import Plan
from .prepared import PreparedRun, prepare
from .request import Pictures, Request
from .result import Result
from .reweigh import reweigh
from .scoring import check_kept, check_yardsticks
from .speeds import Timed, speed_key
from .stopped import tell_what_is_given_up, telling_what_is_saved
from .train_pictures import Trained, train_pictures

if TYPE_CHECKING:
    from clora_ext.training.team import Team

__all__ = ["add_concept"]


@dataclass(frozen=True, slots=True)
class _CarriedOut:
    """What a run has made, while the project does not refer to it yet."""

    state: State
    record: ConceptRecord
    files: ConceptFiles
    outcome: Outcome


def add_concept(
    request: Request, sink: Sink = ignore, on_plan: Callable[[Plan], None] = lambda plan: None
) -> Result:
    """Train an adapter for the request's pictures, or take its LoRA, and fold it into the project's model.

    A concept of the project is weighed anew in the same way; see :func:`clora_ext.weigh`.

    The project stays as it was until the very end; a stopped run resumes when it is asked for again, and
    what has been learned already is not learned twice.

    Where torchrun or accelerate has started several processes, the first one calls this and the others call
    :func:`clora_ext.follow`: they train together.

    Args:
        request: what to do.
        sink: told what happens; may raise Cancelled to stop.
        on_plan: shown the plan before anything is loaded; may raise to stop.

    Raises:
        CloraError: of the kind and with the remedy that fits what is wrong.
    """
    place = _place(request)  # before the project is locked: each of the processes says why
    if place.is_alone:
        return _add(request, sink, on_plan, None)
    from clora_ext.training.joining import joined

    with joined(place) as team, team.telling():
        return _add(request, sink, on_plan, team)


def _place(request: Request) -> Place:
    """This process's place in its job, of which it has to be the first.

    Raises:
        UsageError: it is another one, or there is nothing to share.
    """
    if not isinstance(request.source, Pictures):
        check_single_process()
        return ALONE
    place = own_place()
    if not place.leads:
        fix = "call clora_ext.follow(request) in all processes but the first"
        raise UsageError(f"this is {place.words}, and the first one alone adds a concept", fix=fix)
    return place


def _add(request: Request, sink: Sink, on_plan: Callable[[Plan], None], team: "Team | None") -> Result:
    """In this process alone, or as the first one of a team."""
    began = time.monotonic()
    with Project.writing(request.project) as project:
        plan = plan_within(project, request)
        if plan.learned is not None:
            sink(Note(plan.learned_note))
            if team is not None:
                announce(plan, team)
                team.part()
            return _stored(project, plan.learned)
        on_plan(plan)
        if team is not None:
            announce(plan, team)
        timed = Timed(speed_key(plan), sink)
        with telling_what_is_saved(plan, project):
            made = _carry_out(plan, project, timed, team)
        project.commit(made.record, made.state, keep=request.keep)
    seconds = time.monotonic() - began
    timed.finished(seconds)
    return Result(
        project=request.project,
        checkpoint=project.checkpoints_dir / made.state.checkpoint,
        content_hash=made.state.content_hash,
        number=plan.number,
        trigger_prompt=plan.sample_prompt,
        sheet=made.files.sheet if made.record.sheet else None,
        first_loss=made.record.first_loss,
        last_loss=made.record.last_loss,
        outcome=made.outcome,
        seconds=seconds,
    )


def _carry_out(plan: Plan, project: Project, sink: Sink, team: "Team | None") -> _CarriedOut:
    """Learn, fold, verify and measure; the project does not refer to any of it yet."""
    for note in plan.text_notes:
        sink(Note(note))
    tell_what_is_given_up(plan, project, sink)
    check_yardsticks(plan, project)
    run = prepare(plan, project, sink)
    learned = _learn(run, sink, team)
    overlap = _overlap(plan, learned)
    state = fold_concept(run, learned.concept, sink)
    delta = keep_delta(run, learned.concept, state)
    verified = verify(run, state, learned, overlap, sink)
    check_kept(plan, project, verified.outcome)
    files = concept_files(project.folder, plan.number, plan.concept.token, plan.concept.class_name)
    if verified.samples:
        write_contact_sheet(run, learned, verified.samples, files.sheet, sink)
    verified.outcome.write(files.outcome)
    sink(Stage("commit"))
    sheet = files.sheet.name if verified.samples else None
    record = make_record(run, state, sheet, learned.losses, delta)
    return _CarriedOut(state, record, files, verified.outcome)


def _learn(run: PreparedRun, sink: Sink, team: "Team | None") -> Trained:
    """The new concept, by training or from a LoRA (without losses), or what was kept of an earlier one."""
    material = run.plan.material
    if not isinstance(material, LoraMaterial):
        return train_pictures(run, sink, team)
    take = import_lora if run.plan.reweighting is None else reweigh
    return Trained(take(run, material, sink), (), (), baseline_of_current(run, sink))


def _overlap(plan: Plan, learned: Trained) -> float | None:
    """How far the change reads what earlier ones read; see :mod:`clora_ext.evolving.interference`."""
    from clora_ext.evolving.interference import interference

    return interference(plan.context.evolving(), learned.concept)


def _stored(project: Project, record: ConceptRecord) -> Result:
    """What the run that taught the concept has given."""
    checkpoint, current = project.checkpoint_path, project.current
    assert checkpoint is not None  # a project with concepts has a state  # noqa: S101
    assert current is not None  # noqa: S101
    return Result(
        project=project.folder,
        checkpoint=checkpoint,
        content_hash=current.content_hash,
        number=record.number,
        trigger_prompt=record.setting("sample_prompt") or recorded_prompt(record),
        sheet=project.sheets_dir / record.sheet if record.sheet else None,
        first_loss=record.first_loss,
        last_loss=record.last_loss,
        outcome=read_outcome_of(project.folder, record),
        seconds=0.0,
    )
