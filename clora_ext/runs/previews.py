"""Previews while a concept is learned: how it grows, and what becomes of those that were learned before."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clora_ext.errors import writing
from clora_ext.events import Preview, Sink
from clora_ext.project.concept_files import concept_files
from clora_ext.project.records import file_stem
from clora_ext.sampling.contact_sheet import grid, read_picture, read_sheet_metadata
from clora_ext.sampling.recorded import recorded_prompt

from .prepared import PreparedRun

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["PreviewPrompt", "preview_prompts", "previews"]

_MOST_EARLIER = 8
_FOLDER = "previews"


@dataclass(frozen=True, slots=True)
class PreviewPrompt:
    """One concept that is drawn now and then.

    Attributes:
        stem: what the names of its files begin with.
        trigger: token and class.
        text: the prompt of its contact sheet.
    """

    stem: str
    trigger: str
    text: str


def preview_prompts(run: PreparedRun) -> tuple[PreviewPrompt, ...]:
    """The last eight concepts that were learned, then the new one; none: no previews are asked for."""
    if not run.plan.settings.sampling.preview_every:
        return ()
    found = []
    for record in run.project.concepts[-_MOST_EARLIER:]:
        name = (record.number, record.token, record.class_name)
        metadata = read_sheet_metadata(concept_files(run.project.folder, *name).sheet)
        text = metadata.prompt if metadata else recorded_prompt(record)
        found.append(PreviewPrompt(file_stem(*name), f"{record.token} {record.class_name}", text))
    concept = run.plan.concept
    stem = file_stem(run.plan.number, concept.token, concept.class_name)
    return (*found, PreviewPrompt(stem, concept.trigger, run.prompt.text))


def previews(
    run: PreparedRun, asked: tuple[PreviewPrompt, ...], sampler: "Callable[[str], Image]", sink: Sink
) -> Callable[[int], None]:
    """Called after every step: now and then, a picture of each concept, in a folder of its own.

    They lie in the training folder, with ``previews.png``, which shows all of them, and go with it when the
    concept is learned. The model is drawn with as it is trained, before it is folded.
    """
    every, folder = run.plan.settings.sampling.preview_every, run.project.training_dir

    def preview(step: int) -> None:
        if not every or step % every:
            return
        for one in asked:
            target, picture = folder / _FOLDER / one.stem / f"preview-{step:06d}.png", sampler(one.text)
            with writing(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                picture.save(target)
            sink(Preview(step, target, one.trigger))
        _write_overview(run, asked)

    return preview


def _write_overview(run: PreparedRun, asked: tuple[PreviewPrompt, ...]) -> None:
    """All previews so far in one picture: a row for each concept, a column for each step."""
    folder, every = run.project.training_dir, run.plan.settings.sampling.preview_every
    steps = range(every, run.plan.settings.schedule.steps + 1, every)
    rows: dict[str, dict[int, Image]] = {}
    for one in asked:
        drawn = {
            step: read_picture(folder / _FOLDER / one.stem / f"preview-{step:06d}.png") for step in steps
        }
        rows[one.trigger] = {step: picture for step, picture in drawn.items() if picture is not None}
    columns = sorted({step for row in rows.values() for step in row})
    table: Mapping[str, list[Image | None]] = {
        trigger: [row.get(step) for step in columns] for trigger, row in rows.items()
    }
    overview = grid([f"step {step}" for step in columns], table, run.prompt.size)
    with writing(folder / "previews.png"):
        overview.save(folder / "previews.png")
