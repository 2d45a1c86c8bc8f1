"""What a project knows of its past: asked for the same again, and asked what of it is still there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from learned import Learned
from small_runs import SETTINGS, another, folder_of, with_settings, with_source

from clora_ext import Lora, Project, Request, Settings, add_concept
from clora_ext.errors import UsageError
from clora_ext.events import Event, Note, TrainStep
from clora_ext.sampling.contact_sheet import read_sample, read_sheet_metadata
from clora_ext.sampling.forgetting import forgetting_grid, forgetting_report

SAME = 1e-4  # one picture is drawn now, four were then: sums round differently


def test_the_same_again_is_the_stored_result(request_: Request, learned: Learned) -> None:
    first = learned(request_)
    events: list[Event] = []
    again = add_concept(replace(request_, base=None), events.append)
    assert replace(again, seconds=first.seconds) == first
    assert not any(isinstance(event, TrainStep) for event in events)
    assert any(isinstance(event, Note) and "already" in event.text for event in events)
    assert Project.open(request_.project).number == 1


def test_it_is_found_behind_later_concepts(request_: Request, learned: Learned) -> None:
    first = learned(request_)
    second = add_concept(another(request_, "cat_images"))
    again = add_concept(request_)
    assert again.number == 1
    assert again.sheet == first.sheet
    assert again.content_hash == second.content_hash


def test_the_same_pictures_taught_otherwise_are_refused(request_: Request, learned: Learned) -> None:
    learned(request_)
    changed = replace(request_, settings=SETTINGS.with_values(steps=7, seed=9))
    with pytest.raises(UsageError, match=r"concept 1 already \(sks dog\), taught with another seed, steps"):
        add_concept(changed)
    assert add_concept(replace(changed, token="zwz")).number == 2


def test_a_changed_caption_is_another_concept(request_: Request, learned: Learned) -> None:
    learned(request_)
    (folder_of(request_) / "0.txt").write_text("{token} {class} asleep")
    assert add_concept(request_).number == 2


def test_an_adapter_that_was_not_kept_cannot_be_had_again(request_: Request, tmp_path: Path) -> None:
    kept = tmp_path / "kept.safetensors"
    add_concept(with_source(request_, export_lora=kept))
    before = kept.read_bytes()
    assert add_concept(with_source(request_, export_lora=kept)).number == 1
    assert kept.read_bytes() == before
    with pytest.raises(UsageError, match="was not kept"):
        add_concept(with_source(request_, export_lora=tmp_path / "other.safetensors"))


@pytest.mark.long
def test_a_lora_is_folded_in_once(request_: Request, tiny: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.safetensors"
    add_concept(with_source(request_, export_lora=kept))
    settings = Settings.of(strategy="merge", sample_steps=2, kept_count=0)
    wish = Request(Lora(kept, 0.5), tmp_path / "other", base=tiny, token="sks", settings=settings)
    first = add_concept(wish)
    again = add_concept(replace(wish, base=None))
    assert (again.number, again.content_hash) == (1, first.content_hash)
    with pytest.raises(UsageError, match="belongs to an earlier concept"):
        add_concept(with_source(wish, weight=0.6))


@pytest.mark.long
def test_a_sheet_records_its_prompt_and_losses(request_: Request) -> None:
    result = add_concept(with_settings(request_, sample_prompt="sks dog at sea"))
    metadata = read_sheet_metadata(result.sheet)
    assert metadata is not None
    assert metadata.prompt == "sks dog at sea"
    assert len(metadata.losses) == SETTINGS.schedule.steps
    assert metadata.losses[0] == pytest.approx(result.first_loss)


@pytest.mark.long
def test_what_was_not_touched_is_drawn_as_it_was(request_: Request) -> None:
    sheet = add_concept(with_settings(request_, sample_count=4)).sheet
    then = read_sample(sheet)
    assert then is not None
    (one,) = forgetting_report(request_.project)
    assert (one.number, one.trigger, list(one.samples), one.changes) == (1, "sks dog", [1], {})
    sheet.unlink()
    (drawn,) = forgetting_report(request_.project)
    difference = np.asarray(then, np.float32) - np.asarray(drawn.samples[1], np.float32)
    assert np.abs(difference).mean() / 255 == pytest.approx(0, abs=SAME)


@pytest.mark.long
def test_samples_of_every_version_in_a_report_are_kept(
    request_: Request, monkeypatch: pytest.MonkeyPatch, learned: Learned
) -> None:
    learned(request_, another(request_, "cat_images"))
    forgetting_report(request_.project)
    add_concept(another(request_, "fox_images", seed=2))
    first, second, third = forgetting_report(request_.project)
    assert [list(one.samples) for one in (first, second, third)] == [[1, 2, 3], [2, 3], [3]]
    assert list(first.changes) == [2, 3]
    assert min(first.changes.values()) > SAME
    monkeypatch.setattr(
        "clora_ext.sampling.forgetting._Sampler.sample", lambda *_: pytest.fail("drawn again")
    )
    again = forgetting_report(request_.project)
    assert [one.changes for one in again] == [first.changes, second.changes, {}]
    grid = forgetting_grid(again)
    white = (255, 255, 255)
    corners = [grid.getpixel((grid.width - 1 - 128 * column - 8 * column - 64, 94)) for column in (2, 1, 0)]
    assert white not in corners
    assert grid.getpixel((grid.width - 1 - 2 * 136 - 64, grid.height - 70)) == white


@pytest.mark.long
def test_samples_of_undone_versions_are_deleted(request_: Request, learned: Learned) -> None:
    learned(request_, another(request_, "cat_images"))
    forgetting_report(request_.project)
    looks = sorted((request_.project / "sheets").glob("look-*.png"))
    assert len(looks) == 1
    with Project.writing(request_.project) as project:
        project.undo()
    (one,) = forgetting_report(request_.project)
    assert list(one.samples) == [1]
    with Project.writing(request_.project):
        pass
    assert not looks[0].exists()


def test_a_lost_sheet_is_no_reason_to_fail(request_: Request, learned: Learned) -> None:
    learned(request_).sheet.unlink()
    (one,) = forgetting_report(request_.project)
    assert (list(one.samples), one.changes) == ([1], {})


def test_a_damaged_sample_is_drawn_again(request_: Request, learned: Learned) -> None:
    learned(request_, another(request_, "cat_images"))
    changes = forgetting_report(request_.project)[0].changes
    (look,) = (request_.project / "sheets").glob("look-*.png")
    look.write_bytes(look.read_bytes()[:100])
    assert forgetting_report(request_.project)[0].changes == pytest.approx(changes)
