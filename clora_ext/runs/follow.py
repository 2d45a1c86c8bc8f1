"""Train along: what every process of a job does but the first, which alone saves, draws and commits."""

from typing import TYPE_CHECKING

from clora_ext.config.processes import Place, own_place
from clora_ext.errors import CloraError, PeerFailed, ToldElsewhere, UsageError
from clora_ext.events import Sink, ignore
from clora_ext.project import Project

from .begin_training import begin_training
from .make_plan import plan_within
from .memory_remedies import training_remedies
from .plan import Plan
from .prepared import prepare_along
from .request import Request

if TYPE_CHECKING:
    from clora_ext.training.team import Team

__all__ = ["announce", "follow"]

_PLAN = "plan"
_NOTHING = "nothing"
_TO_SAVE = 60.0  # seconds that the first process may take to save and to say why it stops


def announce(plan: Plan, team: "Team") -> None:
    """Let the others of the job make the same plan, and wait until they have; one that is learned ends there.

    Raises:
        Cancelled: one of them was stopped.
        PeerFailed: one of them cannot, or sees other pictures or another model.
    """
    team.say(_PLAN, _NOTHING if plan.learned is not None else plan.fingerprint)
    team.meet()
    if plan.learned is None:
        team.meet()


def follow(request: Request, sink: Sink = ignore) -> None:
    """Train along with the first process of this job, which calls :func:`clora_ext.add_concept`.

    It returns when the training ends; folding and measuring are the first process's.

    Args:
        request: the same in all processes.
        sink: told of this process's steps; may raise Cancelled, which stops all of them.

    Raises:
        PeerFailed: the first process has ended, and said nothing.
        ToldElsewhere: this process has stopped, and the first one says why.
        UsageError: there is no such job, or this is its first process.
    """
    place = own_place()
    if place.leads:
        message = "nobody is there to be followed: this is the first process, or the only one"
        raise UsageError(message, fix="call add_concept in it, and follow in the others that torchrun starts")
    from clora_ext.training.joining import joined

    with joined(place) as team:
        try:
            _train_along(request, team, sink)
        except (Exception, KeyboardInterrupt) as error:
            team.tell(error)
            if not team.wait_for_first(_TO_SAVE):
                raise
            raise ToldElsewhere(f"{place.words} has stopped") from error


def _train_along(request: Request, team: "Team", sink: Sink) -> None:
    from clora_ext.config.memory import reporting_out_of_memory
    from clora_ext.training.loop import follow as follow_training

    team.meet()
    announced = team.hear(_PLAN)
    if announced == _NOTHING:
        team.part()
        return
    project = Project.begun(request.project)
    plan = plan_within(Project.find(request.project), request)
    if plan.fingerprint != announced:
        raise _differs(team.place)
    team.meet()
    run = prepare_along(plan, project, sink)
    begun = begin_training(run, (), team, sink)
    with reporting_out_of_memory("training", training_remedies(plan)):
        follow_training(begun.training, sink)


def _differs(place: Place) -> CloraError:
    message = f"{place.words} finds other pictures, settings or another model than the first one does"
    fix = "give all the same command, and folders that all machines share"
    return PeerFailed(message, fix=fix)
