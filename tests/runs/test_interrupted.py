"""A run that stops: by the user, by a loss that is no number, by a full disk; and how it goes on."""

import errno
import shutil
from dataclasses import replace
from io import FileIO
from pathlib import Path

import pytest
from cases import check_each, empty_folder
from learned import Learned
from small_runs import SETTINGS, another, memory_of, snapshot, stop_at

from clora_ext import Project, Request, add_concept, make_plan
from clora_ext.errors import (
    Cancelled,
    StorageError,
    TrainingError,
)
from clora_ext.events import Event, Note, Sink, Stage, TrainStep
from clora_ext.formats import writer as writer_module


@pytest.mark.long
def test_a_run_stopped_twice_gives_the_same_bits_as_one_that_was_not(request_: Request) -> None:
    other = replace(request_, project=request_.project.parent / "uninterrupted")
    straight = add_concept(other)
    for step in (2, 5):
        with pytest.raises(Cancelled):
            add_concept(request_, stop_at(step))
        assert not Project.exists(request_.project)
        assert make_plan(request_).resume_step == step
    seen: list[int] = []
    resumed = add_concept(request_, lambda e: seen.append(e.step) if isinstance(e, TrainStep) else None)
    assert seen == [6]
    assert resumed.content_hash == straight.content_hash
    assert resumed.checkpoint.read_bytes() == straight.checkpoint.read_bytes()
    assert memory_of(request_.project).read_bytes() == memory_of(other.project).read_bytes()
    assert resumed.first_loss == straight.first_loss
    assert resumed.sheet.read_bytes() == straight.sheet.read_bytes()


def test_another_plans_state_is_never_resumed(request_: Request) -> None:
    with pytest.raises(Cancelled):
        add_concept(request_, stop_at(3))
    events: list[Event] = []
    changed = replace(request_, settings=SETTINGS.with_values(seed=4))
    assert make_plan(changed).resume_step == 0
    add_concept(changed, events.append)
    assert [event.step for event in events if isinstance(event, TrainStep)] == [1, 2, 3, 4, 5, 6]
    (note,) = [one.text for one in events if isinstance(one, Note) and "given up" in one.text]
    assert note.endswith(": sks dog, step 3 of 6")


@pytest.mark.long
def test_who_stops_a_run_is_told_what_is_saved(request_: Request) -> None:
    def at(stage: str) -> Sink:
        def sink(event: Event) -> None:
            if isinstance(event, Stage) and event.name == stage:
                raise Cancelled

        return sink

    def check(case: tuple[Sink, str]) -> None:
        with pytest.raises(Cancelled) as caught:
            add_concept(request_, case[0])
        assert caught.value.message == case[1]
        assert caught.value.fix.startswith("run the same command again")

    cases = [
        (at("encode"), "stopped before the first step; nothing was changed"),
        (stop_at(2), "stopped at step 2 of 6; saved"),
        (at("encode"), "stopped at step 2 of 6; saved"),
        (stop_at(6), "stopped after the training, which is saved"),
        (at("fold"), "stopped after the training, which is saved"),
    ]
    check_each(cases, check)
    project = Project.open(request_.project)
    assert (project.manifest, project.number) == (None, 0)
    assert project.unfinished is not None
    assert (project.unfinished.words, project.unfinished.step) == ("sks dog, step 6 of 6", 6)
    assert add_concept(request_).number == 1
    assert Project.open(request_.project).unfinished is None


def test_a_state_that_cannot_be_saved_does_not_hide_that_the_user_stopped(request_: Request) -> None:
    def sink(event: Event) -> None:
        if isinstance(event, TrainStep) and event.step == 3:
            (request_.project / "training" / "001" / "state.safetensors").mkdir(parents=True)
            raise Cancelled

    with pytest.raises(Cancelled) as caught:
        add_concept(request_, sink)
    assert "after step 0 could not be saved" in caught.value.fix
    assert "state.safetensors" in caught.value.fix


def test_any_other_fault_saves_the_training_too(request_: Request) -> None:
    def sink(event: Event) -> None:
        if isinstance(event, TrainStep) and event.step == 3:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        add_concept(request_, sink)
    seen: list[int] = []
    add_concept(request_, lambda e: seen.append(e.step) if isinstance(e, TrainStep) else None)
    assert seen == [4, 5, 6]


def test_what_diverged_is_not_saved(request_: Request) -> None:
    wild = replace(request_, settings=SETTINGS.with_values(learning_rate=1e20, steps=60))
    with pytest.raises(TrainingError, match="diverged"):
        add_concept(wild)
    assert not list(request_.project.rglob("state.safetensors"))


def test_stopping_in_any_stage_leaves_the_project_as_it_was(
    request_: Request, tmp_path: Path, learned: Learned
) -> None:
    learned(request_)
    before = snapshot(request_.project)

    def check(stage: str) -> None:
        project = shutil.copytree(request_.project, empty_folder(tmp_path) / "model")
        second = another(replace(request_, project=project), "cat_images")

        def stop(event: Event) -> None:
            if isinstance(event, Stage) and event.name == stage:
                raise Cancelled

        with pytest.raises(Cancelled):
            add_concept(second, stop)
        assert snapshot(project) == before
        assert add_concept(second).number == 2

    check_each(["sample", "measure", "encode", "train", "fold", "verify", "commit"], check)


def test_a_loss_that_is_no_number_stops_with_the_cause(request_: Request, learned: Learned) -> None:
    learned(request_)
    before = snapshot(request_.project)
    wild = replace(
        another(request_, "cat_images"), settings=SETTINGS.with_values(learning_rate=1e20, steps=60)
    )
    with pytest.raises(TrainingError, match=r"step \d+.*diverged") as caught:
        add_concept(wild)
    assert "--learning-rate" in caught.value.fix
    assert snapshot(request_.project) == before


@pytest.mark.long
def test_a_full_disk_while_folding_leaves_the_project_as_it_was(
    request_: Request, monkeypatch: pytest.MonkeyPatch, learned: Learned
) -> None:
    learned(request_)
    before = snapshot(request_.project)
    real = writer_module.write_all
    written: list[str] = []

    def full(file: FileIO, data: memoryview) -> None:
        if "checkpoints" in str(file.name):
            written.append(str(file.name))
            if len(written) > 5:
                raise OSError(errno.ENOSPC, "No space left on device")
        real(file, data)

    monkeypatch.setattr(writer_module, "write_all", full)
    second = another(request_, "cat_images")
    with pytest.raises(StorageError, match="no space left"):
        add_concept(second)
    assert snapshot(request_.project) == before
    monkeypatch.undo()
    assert add_concept(second).number == 2
