"""Processes of a job beside its first one: they train along, and leave all talking to it."""

from collections.abc import Callable

from clora_ext.config.processes import ALONE, Place, own_place
from clora_ext.errors import Cancelled, ToldElsewhere, UsageError
from clora_ext.events import Sink, ignore

from .stopping import gently

__all__ = ["Unheard", "along", "is_said_by_first", "speaker"]


class Unheard(Exception):
    """This process has stopped, and nobody else says why: its cause."""


def along(run: Callable[[Sink], None]) -> None:
    """Train along in silence; Ctrl-C and SIGTERM stop all processes after the step.

    Raises:
        ToldElsewhere: the first process says why this one has stopped.
        Unheard: it does not.
    """
    with gently(b"") as stop:
        try:
            run(stop.watched(ignore))
        except (Cancelled, ToldElsewhere):
            raise
        except Exception as error:
            raise Unheard from error


def speaker() -> str:
    """What a message of this process begins with, where several might speak."""
    place = _place()
    return "" if place.leads else f"{place.words}: "


def is_said_by_first() -> bool:
    """Whether the first process finds the same wrong before they have met: it has this one's machine."""
    place = _place()
    return not place.leads and place.rank == place.local_rank


def _place() -> Place:
    """Of this process; one that cannot be told speaks for itself."""
    try:
        return own_place()
    except UsageError:
        return ALONE
