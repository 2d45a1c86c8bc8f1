"""What is told of earlier concepts after every run, and a run that stops where too much would be lost."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cases import check_each
from learned import Learned
from PIL import Image
from small_runs import another, snapshot, with_settings
from tiny_scorers import write_csd, write_dinov2

from clora_ext import Project, Request, add_concept, make_plan
from clora_ext.errors import CheckpointError, CloraError, Forgotten, ProjectError, SettingsError, UsageError
from clora_ext.events import Event, Stage, TrainStep
from clora_ext.project.concept_files import concept_files, read_outcome_of
from clora_ext.sampling.contact_sheet import Row, read_sheet_metadata, write_sheet
from clora_ext.sampling.untaught import read_base_drawings

FAST = {"steps": 4, "sample_count": 3}


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"dinov2:{write_dinov2(tmp_path_factory.mktemp('scorer') / 'dinov2')}"


@pytest.fixture
def request_(request_: Request) -> Request:
    """Earlier concepts are drawn."""
    return with_settings(request_, kept_count=4)


def repaint(sheet: Path) -> None:
    """As if the concept had been drawn black before, and white when it was learned.

    The tiny model learns nothing that a tiny scorer sees.
    """
    metadata = read_sheet_metadata(sheet)
    assert metadata is not None
    colours = {"before": "black", "after": "white"}
    rows = [Row(label, [Image.new("RGB", (64, 64), colour)] * 3) for label, colour in colours.items()]
    write_sheet(rows, 64, metadata, sheet)


@pytest.mark.long
def test_what_every_concept_still_draws_is_told_and_can_stop_a_run(request_: Request, dinov2: str) -> None:
    first = with_settings(replace(request_, scorer=dinov2, max_forgetting=0.0), **FAST)
    result = add_concept(first)  # there is nothing to forget yet
    outcome = result.outcome
    assert outcome is not None
    assert (outcome.kept, outcome.interference) == ((), None)
    assert outcome.likeness is not None
    assert (outcome.likeness.scorer, outcome.likeness.questions) == ("dinov2", ())
    assert outcome.decisive is None  # nobody knows how much of it is enough
    assert outcome.drift is not None
    assert outcome.drift.distance is not None
    assert outcome.drift.distance.mean > 0
    project = Project.open(request_.project)
    assert read_base_drawings(project.base_sheet) is not None

    repaint(result.sheet)
    second = another(first, "cat_images")
    before, stages = snapshot(request_.project), list[Event]()
    with pytest.raises(
        Forgotten, match=r"of concept 1 \(sks dog\).*at least 1.00.*scored by dinov2"
    ) as caught:
        add_concept(second, stages.append)
    assert "--max-forgetting goes on" in caught.value.fix
    assert snapshot(request_.project) == before
    assert Stage("measure", "concept 1") in stages
    assert make_plan(second).resume_step == 4

    told = list[Event]()
    result = add_concept(replace(second, max_forgetting=1e6), told.append)
    assert not [event for event in told if isinstance(event, TrainStep)]  # the training was not lost
    outcome = result.outcome
    assert outcome is not None
    (one,) = outcome.kept
    assert (one.number, one.scorer) == (1, "dinov2")
    assert one.share < 1
    assert one.now is not None
    assert one.learned is not None
    assert one.now < one.learned
    assert outcome.interference is not None
    assert 0 < outcome.interference < 1
    project = Project.open(request_.project)
    assert project.later_sample(1, result.content_hash).is_file()
    assert read_outcome_of(project.folder, project.concepts[1]) == outcome
    vectors = concept_files(project.folder, 1, "sks", "dog").outcome.read_text()
    assert '"questions": []' in vectors  # of the pictures no vector is kept


@pytest.mark.long
def test_without_a_scorer_each_is_drawn_and_the_drift_is_in_pixels(
    request_: Request, learned: Learned
) -> None:
    learned(request_)
    told = list[Event]()
    result = add_concept(another(request_, "cat_images"), told.append)
    outcome = result.outcome
    assert outcome is not None
    assert (outcome.kept, outcome.likeness) == ((), None)
    assert outcome.drift is not None
    assert (outcome.drift.distance, outcome.drift.scorer) == (None, "")
    assert outcome.drift.change.mean > 0
    assert Project.open(request_.project).later_sample(1, result.content_hash).is_file()
    with Project.writing(request_.project) as project:
        project.undo()
        project.undo()
    assert not project.base_sheet.exists()  # it is of the concepts that are gone
    outcome = add_concept(with_settings(request_, kept_count=0)).outcome
    assert outcome is not None
    assert (outcome.kept, outcome.drift, project.base_sheet.exists()) == ((), None, False)


def _without_sheet(request: Request) -> None:
    next((request.project / "sheets").glob("001-*.png")).unlink()


CASES: list[tuple[dict[str, object], type[CloraError], str]] = [
    ({"max_forgetting": 0.1}, UsageError, "no scorer for this model"),
    ({"max_forgetting": -1.0}, SettingsError, "the largest forgetting is -1"),
    ({"max_forgetting": float("nan")}, SettingsError, "the largest forgetting is nan"),
    ({"scorer": "demo"}, UsageError, "knows the demo model's world alone"),
    ({"scorer": "dinov3"}, UsageError, "unknown scorer 'dinov3'"),
    ({"scorer": "dino:./nowhere"}, CheckpointError, "there is no folder nowhere"),
]


def test_what_cannot_be_told_is_said_by_the_plan(
    request_: Request, dinov2: str, tmp_path: Path, learned: Learned
) -> None:
    def check(case: tuple[dict[str, object], type[CloraError], str]) -> None:
        with pytest.raises(case[1], match=case[2]) as caught:
            make_plan(replace(request_, **case[0]))  # type: ignore[arg-type]
        assert type(caught.value) is case[1]

    check_each(CASES, check)
    asked = replace(request_, scorer=dinov2, max_forgetting=0.1)
    with pytest.raises(UsageError, match="--kept-count is 0"):
        make_plan(with_settings(asked, kept_count=0))
    learned(request_)
    second = another(asked, "cat_images")
    assert make_plan(replace(second, scorer=f"csd:{write_csd(tmp_path / 'csd.safetensors')}")).number == 2
    _without_sheet(request_)
    with pytest.raises(ProjectError, match=r"concept 1 \(sks dog\) cannot be told: its contact sheet"):
        make_plan(second)


@pytest.mark.long
def test_a_concept_that_the_scorer_never_saw_stops_the_run_before_it_trains(
    request_: Request, dinov2: str
) -> None:
    add_concept(with_settings(request_, steps=1, learning_rate=1e-12))
    told = list[Event]()
    asked = replace(another(request_, "cat_images"), scorer=dinov2, max_forgetting=0.1)
    run: Callable[[], object] = lambda: add_concept(asked, told.append)  # noqa: E731
    with pytest.raises(ProjectError, match="sees no difference between what was drawn before and after"):
        run()
    assert not [event for event in told if isinstance(event, TrainStep)]
