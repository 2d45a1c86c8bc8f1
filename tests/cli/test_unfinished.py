"""A first concept that was stopped: every command sees it, and says how it goes on or how it is dropped."""

import io
import os
import shutil
from contextlib import redirect_stderr, redirect_stdout
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from calling import call, main
from cases import check_each
from clora_ext.cli.wording import ago  # noqa: TID251 - the command line's own test
from whole_runs import FAST, pictures

from clora_ext.errors import Cancelled
from clora_ext.events import Event, TrainStep
from clora_ext.training import loop


def command_in(place: Path, base: Path) -> tuple[object, ...]:
    images = pictures(place / "sks_dog", seed=3)
    return ("add-concept", "--project", place / "model", "--base", base, *FAST, "--steps", "5", images)


@pytest.fixture(scope="module")
def once(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that was stopped at step 2 of 5 two and a half hours ago; not to be changed by a test."""
    place, real = tmp_path_factory.mktemp("once"), loop.train

    def stop(training: loop.Training, sink: object, after_step: object) -> tuple[float, ...]:
        del sink, after_step

        def see(event: Event) -> None:
            if isinstance(event, TrainStep) and event.step == 2:
                raise Cancelled

        return real(training, see)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train", stop)
        done = call(*command_in(place, base))
    assert done.code == 130
    assert "stopped at step 2 of 5; saved" in done.err
    assert "run the same command again to go on" in done.err
    state = place / "model" / "training" / "001" / "state.safetensors"
    before = datetime.now(timezone.utc) - timedelta(hours=2, minutes=30)
    os.utime(state, (before.timestamp(), before.timestamp()))
    return place / "model"


@pytest.fixture
def command(base: Path, tmp_path: Path) -> tuple[object, ...]:
    """The same command, of the copy."""
    return command_in(tmp_path, base)


@pytest.fixture
def stopped(once: Path, tmp_path: Path) -> Path:
    """A copy of the project."""
    return Path(shutil.copytree(once, tmp_path / "model"))


def test_status_shows_it(stopped: Path) -> None:
    done = call("status", "--project", stopped)
    assert done.code == 0, done.err
    assert "nothing learned yet" in done.out
    assert "an unfinished concept: sks dog, step 2 of 5, saved 2 hours ago" in done.out
    (line,) = call("status", "--project", stopped, "--json").json
    found = line["result"]["unfinished"]
    assert (found["concept"], found["step"], found["steps"]) == ("sks dog", 2, 5)
    assert datetime.fromisoformat(found["saved"]) < datetime.now(timezone.utc)


def test_what_needs_a_model_says_how_it_goes_on(stopped: Path, tmp_path: Path) -> None:
    before = sorted(path for path in stopped.rglob("*") if path.name != ".lock")
    commands: dict[str, tuple[object, ...]] = {
        "generate": ("-p", "sks dog"),
        "export": (tmp_path / "out.safetensors",),
        "copy": (tmp_path / "copy",),
        "relocate": (tmp_path / "base.safetensors",),
    }

    def check(name: str) -> None:
        done = call(name, *commands[name], "--project", stopped)
        assert done.code == 1
        assert "has learned nothing yet: its first concept is unfinished (sks dog, step 2 of 5)" in done.err
        assert "run the same `clora add-concept` command again to go on" in done.err

    check_each(commands, check)
    assert sorted(path for path in stopped.rglob("*") if path.name != ".lock") == before
    assert not (tmp_path / "copy").exists()


def test_undo_says_that_nothing_was_learned_and_how_to_drop_it(
    stopped: Path, command: tuple[object, ...]
) -> None:
    done = call("undo", "--project", stopped)
    assert done.code == 1
    assert "there is nothing to undo; its next concept is unfinished (sks dog, step 2 of 5)" in done.err
    training = stopped / "training" / "001"
    assert f"to drop what was trained, delete {training}" in done.err
    shutil.rmtree(training)
    assert call("status", "--project", stopped).code == 1
    done = call(*command, "--dry-run")
    assert done.code == 0, done.err
    assert "going on" not in done.out


@pytest.mark.long
def test_the_plan_and_the_run_go_on_from_there(stopped: Path, command: tuple[object, ...]) -> None:
    (line,) = call(*command, "--dry-run", "--json").json
    assert line["result"]["plan"]["resume_step"] == 2
    assert "going on from step 2 of 5" in call(*command, "--dry-run").out
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()):
        assert main([*map(str, command), "--json"]) == 0
    assert '"step": 3' in out.getvalue()
    assert '"step": 2,' not in out.getvalue()
    assert "unfinished concept" not in call("status", "--project", stopped).out


def test_times_are_told_in_their_largest_unit() -> None:
    def check(case: tuple[timedelta, str]) -> None:
        assert ago(datetime.now(timezone.utc) - case[0]) == case[1]

    cases = [
        (timedelta(seconds=-5), "just now"),
        (timedelta(seconds=59), "just now"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(hours=23, minutes=59), "23 hours ago"),
        (timedelta(days=40), "40 days ago"),
    ]
    check_each(cases, check)
