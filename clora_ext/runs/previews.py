"""Previews while a concept is learned: how it grows, and what becomes of those that were learned before."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clora_ext.errors import shortened, writing
from clora_ext.events import Preview, Sink
from clora_ext.project.concept_files import concept_files
from clora_ext.project.records import file_stem
from clora_ext.sampling.contact_sheet import grid, read_picture, read_sheet_metadata
from clora_ext.sampling.recorded import recorded_prompt
from clora_ext.sampling.samples import SamplePrompt

from .plan import Plan
from .prepared import PreparedRun

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["PreviewPrompt", "preview_prompts", "previews", "previews_are_drawn"]

_MOST_EARLIER = 8
_FOLDER = "previews"
_LONGEST_TITLE = 40
_BESIDE_LORAS = "sample"  # sd-scripts' name of that folder


@dataclass(frozen=True, slots=True)
class PreviewPrompt:
    """What is drawn now and then: a concept, or a prompt of the user's own.

    Attributes:
        stem: what the names of its files begin with.
        trigger: token and class, or the prompt.
        drawn: the prompt, and how it is drawn.
        folder: where its pictures stay; None: in the training folder, as long as that is there.
    """

    stem: str
    trigger: str
    drawn: SamplePrompt
    folder: Path | None = None

    def file(self, training: Path, step: int) -> Path:
        """The picture of a step."""
        if self.folder is not None:
            return self.folder / f"{self.stem}_{step:06d}.png"
        return training / _FOLDER / self.stem / f"preview-{step:06d}.png"


def previews_are_drawn(plan: Plan) -> bool:
    """Whether any are asked for."""
    return plan.settings.sampling.preview_every > 0 or plan.settings.sampling.preview_at_first


def preview_prompts(run: PreparedRun) -> tuple[PreviewPrompt, ...]:
    """The last eight concepts that were learned, the new one, the user's own; none: none are asked for."""
    if not previews_are_drawn(run.plan):
        return ()
    found = []
    for record in run.project.held[-_MOST_EARLIER:]:
        name = (record.number, record.token, record.class_name)
        metadata = read_sheet_metadata(concept_files(run.project.folder, *name).sheet)
        text = metadata.prompt if metadata else recorded_prompt(record)
        trigger = f"{record.token} {record.class_name}"
        found.append(PreviewPrompt(file_stem(*name), trigger, run.prompt.of(text)))
    concept = run.plan.concept
    stem = file_stem(run.plan.number, concept.token, concept.class_name)
    return (*found, PreviewPrompt(stem, concept.trigger, run.prompt), *_of_file(run))


def _of_file(run: PreparedRun) -> Iterator[PreviewPrompt]:
    """The prompts of the user's file; pictures of these lie beside a LoRA that is kept, as in sd-scripts."""
    output, multiple = run.plan.lora_output, run.plan.context.size_multiple
    # A run that goes on writes its own again, and no other's.
    name = "prompt" if output is None else f"{output.path.stem}-{run.plan.fingerprint[:8]}"
    for number, one in enumerate(run.plan.preview_prompts):
        settings = run.prompt.settings
        steps, guidance = one.steps or settings.sample_steps, one.guidance or settings.guidance
        size = run.prompt.size
        drawn = replace(
            run.prompt.of(one.text),
            negative=one.negative,
            first_seed=run.prompt.first_seed if one.seed is None else one.seed,
            sides=(_rounded(one.width or size, multiple), _rounded(one.height or size, multiple)),
            settings=replace(settings, sample_steps=steps, guidance=guidance),
        )
        folder = None if output is None else output.path.parent / _BESIDE_LORAS
        title = f"{number}: {shortened(one.text, _LONGEST_TITLE)}"
        yield PreviewPrompt(f"{name}_{number:02d}", title, drawn, folder)


def _rounded(side: int, multiple: int) -> int:
    """The nearest side below that the model can draw."""
    return max(multiple, side - side % multiple)


def previews(
    run: PreparedRun, asked: tuple[PreviewPrompt, ...], sampler: "Callable[[SamplePrompt], Image]", sink: Sink
) -> Callable[[int], None]:
    """Called before the first step and after each: now and then, a picture of each concept.

    They lie in the training folder, with ``previews.png``, which shows all of them, and go with it when the
    concept is learned. The model is drawn with as it is trained, before it is folded.
    """
    folder = run.project.training_dir

    def preview(step: int) -> None:
        if not _is_due(run.plan, step):
            return
        for one in asked:
            target, picture = one.file(folder, step), sampler(one.drawn)
            with writing(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                picture.save(target)
            sink(Preview(step, target, one.trigger))
        _write_overview(run, asked)

    return preview


def _is_due(plan: Plan, step: int) -> bool:
    sampling = plan.settings.sampling
    if step == 0:
        return sampling.preview_at_first
    return sampling.preview_every > 0 and step % sampling.preview_every == 0


def _write_overview(run: PreparedRun, asked: tuple[PreviewPrompt, ...]) -> None:
    """All previews so far in one picture: a row for each concept, a column for each step."""
    folder = run.project.training_dir
    steps = [step for step in range(run.plan.settings.schedule.steps + 1) if _is_due(run.plan, step)]
    rows: dict[str, dict[int, Image]] = {}
    for one in asked:
        drawn = {step: read_picture(one.file(folder, step)) for step in steps}
        rows[one.trigger] = {step: picture for step, picture in drawn.items() if picture is not None}
    columns = sorted({step for row in rows.values() for step in row})
    table: Mapping[str, list[Image | None]] = {
        trigger: [row.get(step) for step in columns] for trigger, row in rows.items()
    }
    overview = grid([f"step {step}" for step in columns], table, run.prompt.size)
    with writing(folder / "previews.png"):
        overview.save(folder / "previews.png")
