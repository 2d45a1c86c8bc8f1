"""What a run measures and leaves behind: held-out losses, loss curves, how both are swept and copied."""

import shutil
from dataclasses import replace

import pytest
from learned import Learned
from small_runs import SETTINGS, another, folder_of, stop_at

from clora_ext import Project, Request, add_concept, make_plan
from clora_ext.errors import Cancelled
from clora_ext.project import copy_project
from clora_ext.project.concept_files import concept_files
from clora_ext.sampling.contact_sheet import read_sheet_metadata
from clora_ext.training.curve import read_curve, write_curve


@pytest.mark.long
def test_the_loss_on_held_out_noise_is_told_before_and_after(request_: Request, all_draws: int) -> None:
    """A training that goes nowhere gains nothing; one that goes somewhere gains for certain."""
    fast = {"sample_count": 1, "sample_steps": 1}
    idle = replace(request_, settings=SETTINGS.with_values(steps=1, learning_rate=1e-12, **fast))
    outcome = add_concept(idle).outcome
    assert outcome is not None
    assert outcome.held_out is not None
    before = outcome.held_out.before
    assert (outcome.is_learned, outcome.likeness, outcome.held_out.draws) == (False, None, all_draws)
    assert outcome.held_out.after.mean == pytest.approx(before.mean, rel=1e-3)

    taught = replace(
        request_,
        project=request_.project.parent / "taught",
        settings=SETTINGS.with_values(steps=40, learning_rate=2e-2, targets="transformer", **fast),
    )
    learned = add_concept(taught).outcome
    assert learned is not None
    assert learned.held_out is not None
    assert learned.is_learned
    assert learned.held_out.before == before  # the same draws, whatever the settings
    # fp16 rounds what was trained in float32.
    assert learned.held_out.trained.mean == pytest.approx(learned.held_out.after.mean, rel=0.01)
    assert learned.held_out.after.mean < 0.9 * before.mean
    assert add_concept(taught).outcome == learned  # of what has been learned already, too


@pytest.mark.long
def test_a_curve_is_left_by_a_run_that_is_stopped_and_finished_by_the_same_command(
    request_: Request,
) -> None:
    files = concept_files(request_.project, 1, "sks", "dog")
    with pytest.raises(Cancelled):
        add_concept(request_, stop_at(2))
    assert [point.step for point in read_curve(files.curve)] == [1, 2]
    first, second = read_curve(files.curve)
    assert files.plot.is_file()
    write_curve([first, replace(second, loss=9.0)], files.curve)  # as another plan's run might have left it
    result = add_concept(request_)
    points = read_curve(files.curve)
    assert points[0] == first
    assert points[1].loss == pytest.approx(second.loss)
    assert points[1].seconds is None
    assert [point.step for point in points] == [1, 2, 3, 4, 5, 6]
    assert all(point.seconds for point in points if point.step != 2)
    assert [point.rate for point in points][2:] == [SETTINGS.optimizer.learning_rate] * 4
    assert points[0].loss == pytest.approx(result.first_loss)
    assert {name for name, _ in files.there()} == {"sheet", "outcome", "curve", "plot"}


@pytest.mark.long
def test_curves_and_numbers_are_copied_counted_and_undone(request_: Request, learned: Learned) -> None:
    learned(request_)
    second = another(request_, "cat_images")
    add_concept(second)
    first, last = (concept_files(request_.project, *one) for one in ((1, "sks", "dog"), (2, "zwz", "cat")))
    copied = copy_project(request_.project, request_.project.parent / "copy")
    assert all(file.is_file() for file in concept_files(copied.folder, 2, "zwz", "cat").all)
    assert Project.open(request_.project).disk_usage().curves == sum(
        file.stat().st_size for file in (first.curve, first.plot, last.curve, last.plot)
    )
    with Project.writing(request_.project) as project:
        project.undo()
    assert all(file.is_file() for file in first.all)
    assert not any(file.exists() for file in last.all)
    # A curve outlives only while the run that it is of can be gone on with.
    with pytest.raises(Cancelled):
        add_concept(second, stop_at(3))
    assert last.curve.is_file()
    shutil.rmtree(request_.project / "training" / "002")
    with Project.writing(request_.project):
        pass
    assert not last.curve.exists()


def test_the_sheet_is_drawn_by_a_prompt_that_was_not_trained_with(
    request_: Request, learned: Learned
) -> None:
    (folder_of(request_) / "0.txt").write_text("a photo of sks dog")
    (folder_of(request_) / "1.txt").write_text("A  picture of SKS dog")
    plan = make_plan(request_)
    assert plan.sample_prompt == "sks dog"
    result = learned(request_)
    metadata = read_sheet_metadata(result.sheet)
    assert metadata is not None
    assert metadata.prompt == result.trigger_prompt == "sks dog"
    assert add_concept(request_).trigger_prompt == "sks dog"
