"""Validation while a concept is learned: it changes nothing, is the same after a stop, and keeps the best."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from small_runs import pictures, stop_at, with_settings, with_source

from clora_ext import Project, Request, add_concept, make_plan
from clora_ext.errors import Cancelled
from clora_ext.events import Event, Note, Validated
from clora_ext.project.concept_files import concept_files
from clora_ext.training.curve import read_curve

SPLIT = {"validation_split": 0.25, "validate_every": 2}


@pytest.fixture
def eight(request_: Request, tmp_path: Path) -> Request:
    """Eight pictures."""
    return with_settings(with_source(request_, folder=pictures(tmp_path / "eight", 8)), **SPLIT)


def asked(request: Request) -> tuple[str, list[Validated], list[Event]]:
    """The content hash, the validations and all that was told."""
    told: list[Event] = []
    result = add_concept(request, told.append)
    return result.content_hash, [one for one in told if isinstance(one, Validated)], told


@pytest.mark.long
def test_validation_changes_no_bit_of_the_training(eight: Request, tmp_path: Path) -> None:
    straight, found, _ = asked(eight)
    assert [one.step for one in found] == [2, 4, 6]
    assert found[0].is_lowest
    often = replace(with_settings(eight, validate_every=1), project=tmp_path / "often")
    assert make_plan(often).fingerprint == make_plan(replace(eight, project=tmp_path / "x")).fingerprint
    again, more, _ = asked(often)
    assert [one.step for one in more] == [1, 2, 3, 4, 5, 6]
    assert [more[1].loss, more[3].loss, more[5].loss] == [one.loss for one in found]
    assert again == straight
    plan = make_plan(replace(eight, token="uwu"))
    assert len(plan.dataset.held_out) == 2
    record = Project.open(eight.project).concepts[0]
    assert len(record.images) == 6


@pytest.mark.long
@pytest.mark.parametrize("last", [3, 4])  # of which the second is stopped before it is validated
def test_a_stopped_run_goes_on_with_what_it_has_asked(eight: Request, tmp_path: Path, last: int) -> None:
    straight, found, _ = asked(with_settings(eight, keep_best=True))
    stopped = replace(with_settings(eight, keep_best=True), project=tmp_path / "stopped")
    with pytest.raises(Cancelled):
        add_concept(stopped, stop_at(last))
    again, later, _ = asked(stopped)
    assert again == straight
    assert [(one.step, one.loss, one.is_lowest) for one in later] == [
        (one.step, one.loss, one.is_lowest) for one in found[1:]
    ]
    record = Project.open(stopped.project).concepts[0]
    files = concept_files(stopped.project, record.number, record.token, record.class_name)
    points = {one.step: one.validation for one in read_curve(files.curve)}
    assert {step: loss for step, loss in points.items() if loss is not None} == {
        one.step: pytest.approx(one.loss, rel=1e-6) for one in found
    }
    with files.curve.open(encoding="ascii", newline="") as table:
        assert next(csv.reader(table))[-1] == "validation"
    with Image.open(files.plot) as plot:
        assert (200, 90, 20) in {colour for _, colour in plot.convert("RGB").getcolors(1 << 20) or ()}


@pytest.mark.long
def test_the_best_adapter_is_taken_where_it_is_wished(eight: Request, tmp_path: Path) -> None:
    """A rate at which each step makes it worse: the best is that of the first validation."""
    wild = with_settings(eight, learning_rate=0.3, warmup_steps=0, validate_every=1)
    last, found, _ = asked(wild)
    best = min(found, key=lambda one: one.loss)
    assert best.step < 6, "the example does not overshoot"
    kept, _, told = asked(replace(with_settings(wild, keep_best=True), project=tmp_path / "kept"))
    assert kept != last
    assert Note(f"the adapter of step {best.step} is taken: its validation loss is the lowest") in told


def test_what_is_held_out_stands_in_the_plan(eight: Request) -> None:
    plan = make_plan(eight)
    assert len(plan.as_dict()["held_out"]) == 2
    assert len(plan.cuts) == 6
    assert make_plan(with_settings(eight, validate_every=0)).settings.sampling.validate_every == 1
    by_epochs = make_plan(with_settings(eight, validate_every=0, validate_every_epochs=2))
    assert by_epochs.settings.sampling.validate_every > 1
