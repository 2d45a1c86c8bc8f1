"""Take a concept out of a project's model, or give it another weight, where its change was kept."""

from collections.abc import Callable
from pathlib import Path

from clora_ext.config.settings import Settings
from clora_ext.events import Sink, ignore
from clora_ext.project import Project

from .add_concept import add_concept
from .plan import Plan
from .request import Request, Reweight
from .result import Result

__all__ = ["remove", "weigh", "weigh_request"]

_STRATEGY = "merge"  # the change, times what is missing of the weight, is added


def weigh_request(
    project: Path, token: str, weight: float, *, keep: int = 1, base: Path | None = None
) -> Request:
    """What :func:`weigh` asks for, for :func:`clora_ext.make_plan`.

    Raises:
        ProjectError: there is no project.
    """
    Project.open(project)  # to write would begin one
    return Request(
        Reweight(token, weight), project, base, settings=Settings.of(strategy=_STRATEGY), keep=keep
    )


def weigh(
    project: Path,
    token: str,
    weight: float,
    *,
    keep: int = 1,
    base: Path | None = None,
    sink: Sink = ignore,
    on_plan: Callable[[Plan], None] = lambda plan: None,
) -> Result:
    """Give a concept another weight in the model: W + (weight - present weight) * change as it was folded.

    One more step of the project, which undo takes back. What was trained later stays as it is.

    Args:
        project: its folder.
        token: the concept's trigger word; its change was kept (:attr:`Request.keep_delta`).
        weight: 1: as it was taught; 0: none of it.
        keep: earlier checkpoints to keep for undo.
        base: where the project's base lies now; None: where it was.
        sink: told what happens; may raise Cancelled to stop.
        on_plan: shown the plan before anything is loaded; may raise to stop.

    Raises:
        UsageError: there is no such concept, or this cannot be done exactly; the remedy says what can.
        CloraError: of the kind and with the remedy that fits what else is wrong.
    """
    return add_concept(weigh_request(project, token, weight, keep=keep, base=base), sink, on_plan)


def remove(
    project: Path,
    token: str,
    *,
    keep: int = 1,
    base: Path | None = None,
    sink: Sink = ignore,
    on_plan: Callable[[Plan], None] = lambda plan: None,
) -> Result:
    """Take a concept out of the model: :func:`weigh` with the weight 0. Its change stays kept."""
    return weigh(project, token, 0.0, keep=keep, base=base, sink=sink, on_plan=on_plan)
