"""A run that is watched: its events are shown, and it can be asked to stop."""

from collections.abc import Iterator
from contextlib import contextmanager

from clora_ext.events import Sink

from .output import Output
from .progress import shown
from .stopping import Stop, gently

__all__ = ["watching"]


@contextmanager
def watching(output: Output) -> Iterator[tuple[Sink, Stop]]:
    """A sink for the run's events, for people or programs, and whether the user has asked to stop."""
    with gently() as stop:
        if output.as_json:
            yield stop.watched(output.event), stop
        else:
            with shown(output.meanwhile) as sink:
                yield stop.watched(sink), stop
