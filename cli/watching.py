"""A run that is watched: its events are shown, and it can be asked to stop."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clora_ext.events import Event, FoldStep, Sink

from .output import Output
from .progress import shown
from .stopping import Stop, gently

__all__ = ["sparing", "watching"]

_EVERY = 0.5  # seconds


@contextmanager
def watching(output: Output) -> Iterator[tuple[Sink, Stop]]:
    """A sink for the run's events, for people or programs, and whether the user has asked to stop."""
    with gently() as stop:
        if output.as_json:
            yield stop.watched(sparing(output.event)), stop
        else:
            with shown(output.meanwhile) as sink:
                yield stop.watched(sink), stop


def sparing(sink: Sink, clock: Callable[[], float] = time.monotonic) -> Sink:
    """``sink``, which is told of tensors twice a second at the most, and of the last one always.

    A model has hundreds of them and a fold takes seconds: a program would read little else.
    """
    told_at = -_EVERY

    def pass_on(event: Event) -> None:
        nonlocal told_at
        if isinstance(event, FoldStep) and event.done < event.total:
            if clock() - told_at < _EVERY:
                return
            told_at = clock()
        sink(event)

    return pass_on
