# ruff: noqa: TID251 - the rule keeps the engine from the command line; these are its own tests
import os
import signal
import threading

import pytest
from cases import check_each
from clora_ext.cli.stopping import Interrupted, Stop, gently

from clora_ext.errors import Cancelled
from clora_ext.events import Event, Note, Stage

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")


def test_run_stops_at_the_next_event() -> None:
    def check(number: int) -> None:
        seen: list[Event] = []
        with gently() as stop:
            sink = stop.watched(seen.append)
            sink(Note("one"))
            os.kill(os.getpid(), number)
            with pytest.raises(Cancelled):
                sink(Note("two"))
        assert seen == [Note("one"), Note("two")]

    check_each([signal.SIGINT, signal.SIGTERM], check)


def test_signal_is_acknowledged_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    with gently():
        os.kill(os.getpid(), signal.SIGINT)
        assert "stopping" in capfd.readouterr().err


def test_notes_arrive_while_the_run_stops() -> None:
    stop = Stop()
    sink = stop.watched(lambda event: None)
    stop.ask(signal.SIGINT, None)
    with pytest.raises(Cancelled):
        sink(Stage("train"))
    sink(Note("saved"))


def test_second_signal_ends_the_run_at_once() -> None:
    with gently():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)


def test_no_library_can_swallow_the_second_signal() -> None:
    assert not issubclass(Interrupted, (Exception, KeyboardInterrupt))


def test_signal_that_the_caller_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with gently() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            stop.check()
    finally:
        signal.signal(signal.SIGINT, before)


def test_handlers_are_given_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with gently():
        pass
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_other_threads_leave_signals_alone() -> None:
    problems: list[BaseException] = []

    def run() -> None:
        try:
            with gently():
                pass
        except BaseException as error:  # noqa: BLE001 - whatever it is
            problems.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert problems == []
