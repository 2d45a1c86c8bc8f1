"""Previews while a concept is learned: of it, and of those that were learned before."""

from dataclasses import replace
from pathlib import Path

import pytest
from learned import Learned
from PIL import Image
from small_runs import another, stop_at, with_settings, with_source

from clora_ext import Project, Request, add_concept
from clora_ext.errors import Cancelled
from clora_ext.events import Event, Preview, TrainStep
from clora_ext.sampling.contact_sheet import read_sheet_metadata


@pytest.mark.long
def test_previews_show_what_becomes_of_earlier_concepts(request_: Request, learned: Learned) -> None:
    first = learned(request_)
    drawn: list[tuple[int, str, str, bytes]] = []
    widths: list[int] = []

    def look(event: Event) -> None:
        if isinstance(event, Preview):
            place = str(event.path.relative_to(request_.project / "training" / "002" / "previews"))
            drawn.append((event.step, event.concept, place, event.path.read_bytes()))
        if isinstance(event, TrainStep) and event.step in {4, 5, 6}:  # what earlier steps have left
            with Image.open(request_.project / "training" / "002" / "previews.png") as overview:
                widths.append(overview.width)

    second = with_settings(another(request_, "cat_images"), preview_every=2)
    watched = add_concept(second, look)
    assert [one[:3] for one in drawn] == [
        (step, concept, f"{stem}/preview-{step:06d}.png")
        for step in (2, 4, 6)
        for concept, stem in (("sks dog", "001-sks-dog"), ("zwz cat", "002-zwz-cat"))
    ]
    assert len({one[3] for one in drawn}) == 6  # both move
    assert widths[0] < widths[1] == widths[2]
    assert not (request_.project / "training" / "002").exists()
    with Project.writing(request_.project) as project:
        project.undo()
    assert add_concept(with_settings(second, preview_every=0)).content_hash == watched.content_hash
    metadata = read_sheet_metadata(first.sheet)
    assert metadata is not None
    assert metadata.prompt == "a picture of sks dog"


@pytest.mark.long
def test_the_model_before_is_drawn_first(request_: Request, tmp_path: Path, learned: Learned) -> None:
    plain = learned(replace(request_, project=tmp_path / "plain"))
    drawn: dict[int, bytes] = {}

    def look(event: Event) -> None:
        if isinstance(event, Preview):
            assert event.step not in drawn
            drawn[event.step] = event.path.read_bytes()

    wished = with_settings(request_, preview_at_first=True, preview_every=4)
    with pytest.raises(Cancelled):
        add_concept(wished, lambda event: (look(event), stop_at(2)(event)))
    result = add_concept(wished, look)  # which does not draw the first again
    assert sorted(drawn) == [0, 4]
    assert drawn[0] != drawn[4]
    assert result.content_hash == plain.content_hash
    alone = replace(request_, project=tmp_path / "alone")
    drawn.clear()
    add_concept(with_settings(alone, preview_at_first=True), look)
    assert list(drawn) == [0]


@pytest.mark.long
def test_prompts_of_a_file_are_drawn_too_in_their_own_way(
    request_: Request, tmp_path: Path, learned: Learned
) -> None:
    prompts = tmp_path / "prompts.txt"
    lines = ("sks dog --w 32 --h 64 --s 1", "sks dog --d 5", "sks dog --d 6 --n a dog")
    prompts.write_text("\n".join(lines), encoding="utf-8")
    asked = with_source(request_, preview_prompts=prompts, export_lora=tmp_path / "out" / "dog.safetensors")
    plain = learned(replace(request_, project=tmp_path / "plain"))
    result = add_concept(with_settings(asked, preview_every=3))
    assert result.content_hash == plain.content_hash  # to look changes nothing
    files = sorted((tmp_path / "out" / "sample").iterdir())
    ends = [f"_{number:02d}_{step:06d}.png" for number in range(3) for step in (3, 6)]
    assert [file.name[-len(ends[0]) :] for file in files] == ends
    assert all(file.name.startswith("dog-") for file in files)
    sizes = []
    for file in files:
        with Image.open(file) as image:
            sizes.append(image.size)
    assert sizes == [(32, 64)] * 2 + [(32, 32)] * 4
    assert len({file.read_bytes() for file in files}) == 6
