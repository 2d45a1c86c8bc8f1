# ruff: noqa: TID251 - the rule keeps the engine from the command line; these are its own tests
import errno
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from cases import check_each
from clora_ext.cli.boundary import failure, guarded
from clora_ext.cli.output import Output, tolerate_any_text
from clora_ext.cli.stopping import Interrupted, at_once

from clora_ext import errors


def raising(error: BaseException) -> Callable[[], None]:
    def run() -> None:
        raise error

    return run


CODES = {
    errors.UsageError("wrong", fix="do"): 2,
    errors.SettingsError(["wrong"]): 2,
    errors.TaughtOtherwise("wrong", fix="do"): 2,
    errors.DatasetError("wrong", fix="do"): 1,
    errors.CheckpointError("wrong", fix="do"): 1,
    errors.ProjectError("wrong", fix="do"): 1,
    errors.ProjectLocked("wrong", fix="do"): 1,
    errors.BaseChanged("wrong", fix="do"): 1,
    errors.TrainingError("wrong", fix="do"): 1,
    errors.Forgotten("wrong", fix="do"): 1,
    errors.OutOfMemory("wrong", fix="do"): 1,
    errors.StorageError("wrong", fix="do"): 1,
    errors.PeerFailed("wrong", fix="do"): 1,
    errors.Cancelled("wrong", fix="do"): 130,
    typer.BadParameter("wrong"): 2,
    typer.Abort(): 130,
    KeyboardInterrupt(): 130,
    Interrupted(): 130,
    ValueError("wrong"): 1,
}


def of_the_tree(kind: type[errors.CloraError]) -> set[type[errors.CloraError]]:
    return {kind}.union(*(of_the_tree(below) for below in kind.__subclasses__()))


def test_every_kind_of_error_is_tried_here() -> None:
    silent = {errors.CloraError, errors.ToldElsewhere}  # of the latter: test_following.py
    assert of_the_tree(errors.CloraError) - silent <= {type(error) for error in CODES}


def test_error_has_its_exit_code_and_is_printed_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    def check(error: BaseException) -> None:
        code, printed = guarded(raising(error), Output(as_json=False)), capsys.readouterr()
        assert code == CODES[error]
        assert printed.out == ""
        assert ("wrong" in printed.err) or code == 130

    check_each(CODES, check)


def test_error_is_one_json_object_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    def check(error: BaseException) -> None:
        code, printed = guarded(raising(error), Output(as_json=True)), capsys.readouterr().out
        described = json.loads(printed)["error"]
        assert set(described) == {"kind", "message", "fix", "exit_code", "trace"}
        assert described["exit_code"] == code == CODES[error]

    check_each(CODES, check)


def test_message_and_remedy_stand_on_lines_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    guarded(raising(errors.DatasetError("a.png is empty", fix="remove it")), Output(as_json=False))
    assert capsys.readouterr().err == "error: a.png is empty\nremove it\n"


def test_long_message_is_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/folder" * 60
    guarded(raising(errors.ProjectError(f"{path} is gone")), Output(as_json=False))
    assert path in capsys.readouterr().err


def test_several_wrong_settings_are_listed_together(capsys: pytest.CaptureFixture[str]) -> None:
    guarded(raising(errors.SettingsError(["rank is 0", "steps is 0"])), Output(as_json=False))
    assert capsys.readouterr().err == "error: \n  - rank is 0\n  - steps is 0\n"


def test_stopped_run_says_how_to_go_on() -> None:
    assert "same command" in failure(errors.Cancelled()).fix


def test_remedy_of_the_engine_comes_before_the_general_one() -> None:
    assert failure(errors.Cancelled(fix="look first")).fix == "look first"


def test_unexpected_error_is_called_a_bug_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(raising(ZeroDivisionError("[red]oops[/red]")), Output(as_json=False)) == 1
    printed = capsys.readouterr().err
    assert "this is a bug in clora: ZeroDivisionError: [red]oops[/red]" in printed
    assert "test_boundary.py" in printed


def test_understood_error_shows_no_trace(capsys: pytest.CaptureFixture[str]) -> None:
    guarded(raising(errors.StorageError("disk full")), Output(as_json=False))
    assert "Traceback" not in capsys.readouterr().err


def test_full_disk_is_no_bug_of_clora_wherever_it_is_noticed() -> None:
    found = failure(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/x/y"))
    assert (found.message, found.trace) == ("/x/y: No space left on device", "")


def test_message_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    guarded(raising(errors.DatasetError("\x1b[2J[bold]x[/bold]\u202e.png")), Output(as_json=False))
    assert capsys.readouterr().err == "error: \\x1b[2J[bold]x[/bold]\\u202e.png\n"


def test_exit_code_of_the_call_is_kept() -> None:
    assert guarded(lambda: 3, Output(as_json=False)) == 3
    assert guarded(lambda: None, Output(as_json=False)) == 0
    assert guarded(raising(SystemExit(4)), Output(as_json=False)) == 4


def test_reader_that_leaves_ends_the_call_quietly(tmp_path: Path) -> None:
    clora = [sys.executable, "-c", "from clora_ext.cli.app import main; raise SystemExit(main())", "--help"]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(clora, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_signal_ends_any_command_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    def check(number: int) -> None:
        def run() -> None:
            with at_once():
                os.kill(os.getpid(), number)

        before = signal.getsignal(number)
        code, printed = guarded(run, Output(as_json=False)), capsys.readouterr().err
        assert code == 130
        assert signal.getsignal(number) is before
        assert "stopped at once" in printed

    check_each([signal.SIGINT, signal.SIGTERM], check)


def test_terminal_that_lacks_characters_gets_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    tolerate_any_text()
    print("Käse \udcff", file=stream, flush=True)
    stream.seek(0)
    assert stream.read() == "K\\xe4se \\udcff\n"
