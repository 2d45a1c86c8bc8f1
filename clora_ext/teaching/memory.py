"""What of every concept is still there: what was drawn when it was learned beside what is drawn now."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clora_ext import families
from clora_ext.events import Sink, Stage, ignore
from clora_ext.ground import base_file
from clora_ext.project import ConceptRecord, Project

from .outcome import Prompt

if TYPE_CHECKING:
    from PIL.Image import Image as Drawing

    from clora_ext.families.base import Model

__all__ = ["Remembered", "look_back"]


@dataclass(frozen=True, slots=True)
class Remembered:
    """One concept, then and now.

    Attributes:
        number: of the concept.
        trigger: the words that call it.
        then: drawn right after it was learned; None: its contact sheet is gone or older than this feature.
        now: drawn by the model as it is, by the same prompt with the same noise.
        changed: mean absolute difference of the two, 0 (nothing) to 1; None without ``then``.
    """

    number: int
    trigger: str
    then: "Drawing | None"
    now: "Drawing"
    changed: float | None


def look_back(project: Path, sink: Sink = ignore) -> list[Remembered]:
    """Every concept of a project, then and now.

    A picture that has changed is not yet one that was forgotten: look at it. One that has not changed is
    remembered. (How alike two pictures are in meaning takes an image encoder; clora ships none for photos.)

    Raises:
        CloraError: the project or its model cannot be used.
    """
    from clora_ext.formats.composed import open_model
    from clora_ext.precision import choose

    opened = Project.open(project)
    checkpoint = open_model(opened.checkpoint_path or base_file(opened))
    family = families.detect(checkpoint.header, checkpoint.path)
    model = family.load(checkpoint, choose())
    found = []
    for record in opened.concepts:
        sink(Stage("sample", f"concept {record.number}"))
        size = int(record.settings.get("resolution") or family.resolution(checkpoint.header))
        found.append(_remembered(opened, record, model, size - size % family.step(checkpoint.header)))
    return found


def _remembered(project: Project, record: ConceptRecord, model: "Model", size: int) -> Remembered:
    """One concept; ``size`` in pixels, as it was drawn then."""
    from PIL import ImageChops, ImageStat

    from clora_ext.sheets import fitted, read_drawing, read_story

    trigger = f"{record.token} {record.class_name}"
    sheet = project.sheets_dir / (record.sheet or "none")
    story = read_story(sheet)
    prompt = story.prompt if story else f"a photo of {trigger}"
    now = fitted(Prompt(prompt, size).glance(model), size)
    then = read_drawing(sheet) if story else None
    if then is None or then.size != now.size:
        return Remembered(record.number, trigger, then, now, None)
    changed = sum(ImageStat.Stat(ImageChops.difference(then, now)).mean) / (3 * 255)
    return Remembered(record.number, trigger, then, now, changed)
