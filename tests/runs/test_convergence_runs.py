"""Trainings that end when nothing more is learned: the same model however they are stopped."""

from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import stop_at, with_settings

from clora_ext import Project, Request, add_concept, make_plan
from clora_ext.errors import Cancelled
from clora_ext.events import Event, Note, TrainStep, Validated
from clora_ext.project.concept_files import concept_files
from clora_ext.training.curve import read_curve

LEARNS_NOTHING = {"steps": 80, "learning_rate": 1e-12, "until_converged": True}
LAST = 20  # the tenth question, of which the first is of the warm-up


def taught(request: Request) -> tuple[str, list[Event]]:
    """The content hash, and all that was told."""
    told = list[Event]()
    return add_concept(request, told.append).content_hash, told


def steps_of(told: list[Event]) -> list[int]:
    return [one.step for one in told if isinstance(one, TrainStep)]


@pytest.mark.long
def test_it_ends_and_says_so_and_keeps_what_was_learned(request_: Request, tmp_path: Path) -> None:
    ended, told = taught(with_settings(request_, **LEARNS_NOTHING))
    assert steps_of(told) == list(range(1, LAST + 1))
    assert Note(f"the error on the pictures hardly falls any more: the training ends at step {LAST}") in told
    plain = with_settings(replace(request_, project=tmp_path / "plain"), learning_rate=1e-12, steps=LAST)
    assert taught(plain)[0] == ended  # asking has changed nothing
    record = Project.open(request_.project).concepts[0]
    files = concept_files(request_.project, record.number, record.token, record.class_name)
    assert len(read_curve(files.curve)) == LAST


@pytest.mark.long
def test_it_goes_on_while_it_learns(request_: Request) -> None:
    learns = with_settings(request_, steps=24, learning_rate=1e-4, until_converged=True)
    assert steps_of(taught(learns)[1]) == list(range(1, 25))


@pytest.mark.long
@pytest.mark.parametrize("stopped_at", [7, LAST])  # in the middle; and after the last, before it is asked
def test_a_stopped_one_ends_at_the_same_step(request_: Request, tmp_path: Path, stopped_at: int) -> None:
    asked = with_settings(request_, **LEARNS_NOTHING)
    straight = taught(replace(asked, project=tmp_path / "straight"))[0]
    with pytest.raises(Cancelled):
        add_concept(asked, stop_at(stopped_at))
    assert make_plan(asked).resume_step == stopped_at
    again, told = taught(asked)
    assert steps_of(told) == list(range(stopped_at + 1, LAST + 1))
    assert again == straight


@pytest.mark.long
def test_what_is_held_out_is_asked_at_its_end(request_: Request) -> None:
    asked = with_settings(request_, **LEARNS_NOTHING, validation_split=0.34, validate_every=40)
    _, told = taught(asked)
    assert [one.step for one in told if isinstance(one, Validated)] == [LAST]


def test_it_is_part_of_what_shapes_the_model(request_: Request) -> None:
    plain = make_plan(request_)
    assert make_plan(with_settings(request_, until_converged=True)).fingerprint != plain.fingerprint
