"""What is said of runs that stop: how far this one came, and which earlier one it takes the place of."""

from collections.abc import Iterator
from contextlib import contextmanager

from clora_ext.errors import Cancelled
from clora_ext.events import Note, Sink
from clora_ext.formats.training_state import STATE_FILE
from clora_ext.project import Project
from clora_ext.training.state import resume_step

from .lora_material import LoraMaterial
from .plan import Plan

__all__ = ["tell_what_is_given_up", "telling_what_is_saved"]


def tell_what_is_given_up(plan: Plan, project: Project, sink: Sink) -> None:
    """A project keeps the training of one unfinished run, which another one replaces."""
    earlier = project.unfinished
    if earlier is not None and not plan.resume_step:
        sink(Note(f"an unfinished run is given up, which was asked for otherwise: {earlier.words}"))
    elif earlier is not None and earlier.processes != plan.processes:
        others = f"begun by {_counted(earlier.processes)}, gone on with by {_counted(plan.processes)}"
        sink(Note(f"{others}: equal up to rounding, not bit for bit"))


@contextmanager
def telling_what_is_saved(plan: Plan, project: Project) -> Iterator[None]:
    """Whoever stops the run is told from where the same command goes on."""
    try:
        yield
    except Cancelled as stopped:
        # A remedy that is there already says what could not be saved.
        stopped.message, fix = _how_far(plan, project)
        stopped.fix = stopped.fix or fix
        raise


def _how_far(plan: Plan, project: Project) -> tuple[str, str]:
    """What is saved, and how to go on."""
    if isinstance(plan.material, LoraMaterial):
        return "stopped; nothing was changed", "run the same command again"
    steps = plan.settings.schedule.steps
    saved = resume_step(project.training_dir / STATE_FILE, plan.fingerprint)
    if not saved:
        return "stopped before the first step; nothing was changed", "run the same command again"
    where = f"at step {saved} of {steps}; saved" if saved < steps else "after the training, which is saved"
    return f"stopped {where}", "run the same command again to go on"


def _counted(processes: int) -> str:
    return "one process" if processes == 1 else f"{processes} processes"
