# ruff: noqa: TID251 - the rule keeps the engine from the command line; these are its own tests
"""Processes of a job beside the first one keep silent, unless nobody else says what they have to say."""

import subprocess
import sys

import pytest
from calling import call
from cases import check_each
from clora_ext.cli.boundary import guarded
from clora_ext.cli.following import along
from clora_ext.cli.output import Output

from clora_ext import errors
from clora_ext.events import Note, Sink

SECOND = {
    "RANK": "1",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "1",
}


@pytest.fixture
def _second(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECOND.items():
        monkeypatch.setenv(name, value)


def stopped(error: BaseException, cause: BaseException | None = None) -> int:
    """The exit code of a process that trains along until this is raised."""

    def run(sink: Sink) -> None:
        sink(Note("seen by nobody"))
        raise error from cause

    return guarded(lambda: along(run), Output(as_json=False))


@pytest.mark.usefixtures("_second")
def test_what_the_first_process_says_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    causes = {errors.Cancelled(): 130, errors.TrainingError("the loss is nan"): 1, errors.UsageError("no"): 2}

    def check(cause: errors.CloraError) -> None:
        assert stopped(errors.ToldElsewhere("stopped"), cause) == causes[cause]
        assert capsys.readouterr() == ("", "")

    check_each(causes, check)


@pytest.mark.usefixtures("_second")
def test_what_nobody_else_says_is_said_with_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert stopped(errors.PeerFailed("process 1 has ended", fix="start again")) == 1
    assert capsys.readouterr().err == "error: process 2 of 2: process 1 has ended\nstart again\n"


@pytest.mark.usefixtures("_second")
def test_a_bug_shows_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert stopped(errors.ToldElsewhere("stopped"), ZeroDivisionError("oops")) == 1
    assert "this is a bug in clora: ZeroDivisionError: oops" in capsys.readouterr().err


def test_a_wrong_command_line_is_told_once_on_each_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECOND.items():
        monkeypatch.setenv(name, value)
    beside = call("add-concept", "--json", "--steps", "many", "dogs")
    assert (beside.code, beside.out, beside.err) == (2, "", "")
    monkeypatch.setenv("LOCAL_RANK", "0")
    elsewhere = call("add-concept", "--json", "--steps", "many", "dogs")
    assert (elsewhere.code, elsewhere.out) == (2, "")
    assert elsewhere.err.startswith("error: process 2 of 2: ")


def test_the_command_can_be_started_as_a_module() -> None:
    command = [sys.executable, "-m", "clora_ext.cli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("clora ")
