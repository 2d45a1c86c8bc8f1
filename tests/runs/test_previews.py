"""Previews while a concept is learned: of it, and of those that were learned before."""

from PIL import Image
from small_runs import another, with_settings

from clora_ext import Project, Request, add_concept
from clora_ext.events import Event, Preview, TrainStep
from clora_ext.sampling.contact_sheet import read_sheet_metadata


def test_previews_show_what_becomes_of_earlier_concepts(request_: Request) -> None:
    first = add_concept(request_)
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
