"""The same pictures by several strategies: on copies, beside one another, and gone on with."""

import csv
from dataclasses import replace

import pytest
from learned import Learned
from PIL import Image
from small_runs import another, snapshot, stop_at

from clora_ext import Project, Request, add_concept
from clora_ext.errors import Cancelled, ProjectError, UsageError
from clora_ext.events import Event, TrainStep
from clora_ext.runs.compare import compare, comparison_folder


@pytest.mark.long
def test_strategies_are_taught_on_copies_and_a_stopped_comparison_goes_on(
    request_: Request, learned: Learned
) -> None:
    learned(request_)
    second = another(request_, "cat_images")
    before = snapshot(request_.project)
    folder = comparison_folder(request_.project)
    seen: list[int] = []

    def stop_in_the_second(event: Event) -> None:
        if isinstance(event, TrainStep):
            seen.append(event.step)
            if len(seen) == 6 + 3:
                raise Cancelled

    with pytest.raises(Cancelled):
        compare(second, ["merge", "mask"], stop_in_the_second)
    assert snapshot(request_.project) == before
    seen.clear()
    found = compare(
        second,
        ["merge", "mask", "merge"],
        lambda e: seen.append(e.step) if isinstance(e, TrainStep) else None,
    )
    assert seen == [4, 5, 6]
    assert [row.strategy for row in found.rows] == ["merge", "mask"]
    assert snapshot(request_.project) == before
    assert sorted(path.name for path in folder.iterdir()) == ["sheet.png", "table.csv"]
    rows = list(csv.DictReader(found.table.read_text(encoding="utf-8").splitlines()))
    assert [row["content_hash"] for row in rows] == [row.content_hash for row in found.rows]
    assert all(float(row["loss after"]) > 0 and float(row["seconds"]) > 0 for row in rows)
    with Image.open(found.sheet) as sheet:
        assert sheet.height > 2 * 128
        assert 2 * 128 < sheet.width < 3 * 128 + 90
    # What a copy has learned is what the project itself learns by that strategy.
    mask = replace(second, settings=second.settings and second.settings.with_values(strategy="mask"))
    assert add_concept(mask).content_hash == found.rows[1].content_hash
    with pytest.raises(ProjectError, match="already"):
        compare(second, ["mask"])


@pytest.mark.long
def test_a_new_project_is_begun_by_each_and_copies_can_be_kept(request_: Request) -> None:
    found = compare(request_, ["mask", "merge"], keep_copies=True)
    assert not request_.project.exists()
    assert found.rows[0].content_hash == found.rows[1].content_hash  # nothing was there to be kept
    assert all(Project.open(row.copy).number == 1 for row in found.rows)


@pytest.mark.long
def test_what_cannot_be_compared_is_said_before_anything_is_taught(
    request_: Request, learned: Learned
) -> None:
    with pytest.raises(UsageError, match="msak") as caught:
        compare(request_, ["msak"])
    assert "'mask'" in caught.value.fix
    with pytest.raises(UsageError, match="no strategy"):
        compare(request_, [])
    learned(request_)
    with pytest.raises(UsageError, match="taught already"):
        compare(request_, ["mask"])
    second = another(request_, "cat_images")
    with pytest.raises(Cancelled):
        compare(second, ["mask"], stop_at(2))
    with Project.writing(request_.project) as project:
        project.undo()
    add_concept(another(request_, "fox_images", seed=5))
    with pytest.raises(ProjectError, match="no copy of"):
        compare(second, ["mask"])
