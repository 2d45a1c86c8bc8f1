"""What of every concept is still there: what was drawn when it was learned, and by every later model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from clora_ext import families
from clora_ext.errors import writing
from clora_ext.events import Sink, Stage, ignore
from clora_ext.ground import base_file
from clora_ext.project import ConceptRecord, Project

from .outcome import Prompt

if TYPE_CHECKING:
    from PIL.Image import Image as Drawing

    from clora_ext.families.base import Model
    from clora_ext.sampling.contact_sheet import Story

__all__ = ["Remembered", "forgetting_grid", "look_back"]


@dataclass(frozen=True, slots=True)
class Remembered:
    """One concept over the versions of the model.

    Attributes:
        number: of the concept.
        trigger: the words that call it.
        seen: what was drawn of it, always by the same prompt with the same noise, by how many concepts the
            model had learned: when the concept was learned (if its contact sheet is there), at every later
            version that was looked at, and now.
        changes: for every later version, the mean absolute difference from the first drawing, 0 (nothing) to
            1; empty if there is no drawing from when it was learned.
    """

    number: int
    trigger: str
    seen: "Mapping[int, Drawing]"
    changes: Mapping[int, float]


def look_back(project: Path, sink: Sink = ignore) -> list[Remembered]:
    """Every concept of a project over the versions of its model.

    What the model draws now is kept beside the contact sheets, so that later looks show it too and need not
    draw it again. A picture that has changed is not yet one that was forgotten: look at it. One that has not
    changed is remembered. (How alike two pictures are in meaning takes an image encoder; clora ships none
    for photos.)

    Raises:
        CloraError: the project or its model cannot be used, or the disk is full.
    """
    opened = Project.open(project)
    artist = _Artist(opened)
    return [_remembered(opened, record, artist, sink) for record in opened.concepts]


def forgetting_grid(found: Sequence[Remembered]) -> "Drawing":
    """A row for each concept, a column for each version of the model."""
    from clora_ext.sampling.contact_sheet import grid

    versions = range(1, max(max(one.seen) for one in found) + 1)
    side = max(drawing.width for one in found for drawing in one.seen.values())
    rows = {f"{one.number} {one.trigger}": [one.seen.get(version) for version in versions] for one in found}
    return grid([f"after {version}" for version in versions], rows, side)


class _Artist:
    """Draws with the project's model, which is loaded when the first drawing is asked for."""

    def __init__(self, project: Project) -> None:
        from clora_ext.formats.composed import open_model

        self._checkpoint = open_model(project.checkpoint_path or base_file(project))
        self._family = families.detect(self._checkpoint.header, self._checkpoint.path)

    @cached_property
    def _model(self) -> "Model":
        from clora_ext.config.precision import pick_precision

        return self._family.load(self._checkpoint, pick_precision())

    def draw(self, prompt: str, resolution: int | None) -> "Drawing":
        """A picture as it lies in a contact sheet; ``resolution``: at which the concept was taught."""
        from clora_ext.sampling.contact_sheet import fitted

        header = self._checkpoint.header
        size = resolution or self._family.resolution(header)
        size -= size % self._family.step(header)
        return fitted(Prompt(prompt, size).glance(self._model), size)


def _remembered(project: Project, record: ConceptRecord, artist: _Artist, sink: Sink) -> Remembered:
    """One concept."""
    from clora_ext.sampling.contact_sheet import read_story

    trigger = f"{record.token} {record.class_name}"
    sheet = project.sheets_dir / (record.sheet or "none")
    story = read_story(sheet)
    seen = dict(_seen(project, record, sheet, story))
    if project.number not in seen:
        sink(Stage("sample", f"concept {record.number}"))
        prompt = story.prompt if story else f"a photo of {trigger}"
        drawing = artist.draw(prompt, record.settings.get("resolution"))
        target = project.look(record.number, project.concepts[-1].content_hash)
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            drawing.save(target, format="PNG")
        seen[project.number] = drawing
    return Remembered(record.number, trigger, seen, _changes(record.number, seen))


def _seen(
    project: Project, record: ConceptRecord, sheet: Path, story: "Story | None"
) -> "Iterator[tuple[int, Drawing]]":
    """What was drawn of a concept so far: by which version, and what."""
    from clora_ext.sampling.contact_sheet import read_drawing, read_picture

    for after in project.concepts[record.number - 1 :]:
        own = story is not None and after.number == record.number
        drawing = read_drawing(sheet) if own else None
        drawing = drawing or read_picture(project.look(record.number, after.content_hash))
        if drawing is not None:
            yield after.number, drawing


def _changes(number: int, seen: "Mapping[int, Drawing]") -> dict[int, float]:
    """How far later drawings are from the first."""
    from PIL import ImageChops, ImageStat

    first = seen.get(number)
    if first is None:
        return {}
    return {
        version: sum(ImageStat.Stat(ImageChops.difference(first, drawing)).mean) / (3 * 255)
        for version, drawing in seen.items()
        if version != number and drawing.size == first.size
    }
