"""Ctrl-C and SIGTERM: a run is asked to save and stop; asked twice, it stops at once."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from clora_ext.errors import Cancelled
from clora_ext.events import Event, Sink

__all__ = ["Interrupted", "Stop", "at_once", "gently"]

_Handler = Callable[[int, FrameType | None], None]
_ASKED = b"\nstopping as soon as everything is saved (once more: at once)\n"


class Interrupted(BaseException):
    """Stop at once. No ``Exception`` and no ``KeyboardInterrupt``, so that no library answers it."""


@contextmanager
def at_once() -> Iterator[None]:
    """Both signals raise :class:`Interrupted`: for everything that has nothing to save."""

    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise Interrupted

    with _handled(handle):
        yield


class Stop:
    """Whether the user has asked a run to stop.

    Args:
        answer: what is written to standard error when it is asked.
    """

    def __init__(self, answer: bytes = _ASKED) -> None:
        self._answer = answer
        self._asked = False
        self._told = False

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: the first one is noted, the second raises :class:`Interrupted`."""
        del number, frame
        if self._asked:
            raise Interrupted
        self._asked = True
        # A handler runs between any two steps of the program: the console may be in use right now.
        with suppress(OSError):
            os.write(2, self._answer)

    def check(self) -> None:
        """Raise :class:`Cancelled` if asked to; once only, since the run may still tell what it saves."""
        if self._asked and not self._told:
            self._told = True
            raise Cancelled

    def watched(self, sink: Sink) -> Sink:
        """``sink``, which then also checks."""

        def pass_on(event: Event) -> None:
            sink(event)
            self.check()

        return pass_on


@contextmanager
def gently(answer: bytes = _ASKED) -> Iterator[Stop]:
    """Both signals only ask, and get this answer: for a run that saves before it stops."""
    stop = Stop(answer)
    with _handled(stop.ask):
        yield stop


@contextmanager
def _handled(handler: _Handler) -> Iterator[None]:
    """Both signals go to ``handler``; a signal that the caller ignores (nohup, ``&``) stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    heard = {number: old for number, old in before.items() if old is not signal.SIG_IGN}
    for number in heard:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in heard.items():
            signal.signal(number, old)
