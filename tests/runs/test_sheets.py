"""Contact sheets as they are asked for: small, full, or none."""

from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import another, with_settings
from tiny_scorers import write_dinov2

from clora_ext import Project, Request, Settings, add_concept, make_plan
from clora_ext.errors import ProjectError, UsageError
from clora_ext.events import Event, SampleStep, Stage
from clora_ext.project import copy_project
from clora_ext.sampling.contact_sheet import read_cells
from clora_ext.sampling.forgetting import forgetting_report
from clora_ext.sampling.recorded import recorded_samples


@pytest.mark.long
def test_a_full_sheet_has_four_samples_in_thirty_steps_and_more_if_more_are_asked_for(
    request_: Request,
) -> None:
    full = with_settings(request_, sheet="full", sample_count=1, sample_steps=2)
    steps: list[SampleStep] = []
    result = add_concept(full, lambda event: steps.append(event) if isinstance(event, SampleStep) else None)
    assert result.sheet is not None
    before, after = read_cells(result.sheet, 2) or ([], [])
    assert (len(before), len(after)) == (4, 4)
    assert {event.total for event in steps} == {30}
    # What is compared with it later is drawn likewise.
    project = Project.open(request_.project)
    plan = make_plan(another(full, "cat_images"))
    sampling = recorded_samples(project, project.concepts[0], plan.context.family, plan.context.header)
    assert (sampling.settings.sample_count, sampling.settings.sample_steps) == (4, 30)
    wide = Settings.of(sheet="full", sample_count=6, sample_steps=40).sampling.of_sheet
    assert (wide.sample_count, wide.sample_steps) == (6, 40)
    small = Settings.of(sample_count=1, sample_steps=2).sampling
    assert small.of_sheet == small


@pytest.mark.long
def test_without_a_sheet_nothing_is_drawn_and_the_model_is_the_same(
    request_: Request, tmp_path: Path
) -> None:
    stages: list[str] = []

    def sink(event: Event) -> None:
        if isinstance(event, Stage):
            stages.append(event.name)

    none = with_settings(request_, sheet="none")
    result = add_concept(none, sink)
    assert "sample" not in stages
    assert result.sheet is None
    assert result.as_dict()["sheet"] is None
    assert result.outcome is not None
    assert result.outcome.held_out is not None  # what needs no drawing is measured
    assert not list((request_.project / "sheets").glob("*.png"))
    assert add_concept(none).sheet is None  # learned already

    other = replace(request_, project=tmp_path / "other")
    assert add_concept(other).content_hash == result.content_hash
    assert add_concept(request_).sheet is None  # a sheet is no part of how it was taught

    later = add_concept(another(none, "cat_images"))
    assert later.number == 2
    rows = forgetting_report(copy_project(request_.project, tmp_path / "copy").folder)
    assert [sorted(row.samples) for row in rows] == [[2], [2]]  # drawn when it is asked for
    with pytest.raises(ProjectError, match="learned without a contact sheet"):
        make_plan(scored(another(none, "cow_images"), tmp_path))


def scored(request: Request, tmp_path: Path) -> Request:
    """The same with a scorer that judges by the sheets."""
    dino = f"dinov2:{write_dinov2(tmp_path / 'dinov2')}"
    return replace(with_settings(request, sheet="small", kept_count=4), scorer=dino, max_forgetting=0.5)


def test_a_scorer_needs_the_sheet(request_: Request, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="samples of the contact sheet"):
        make_plan(with_settings(scored(request_, tmp_path), sheet="none"))
