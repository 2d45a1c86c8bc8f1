"""From what was learned to a committed state: fold, verify, show, commit."""

import gc
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from clora_ext.errors import CheckpointError, writing
from clora_ext.events import Sampled, SampleStep, Sink, Stage
from clora_ext.formats.history import HISTORY_KEY, encode_history
from clora_ext.ground import Ground
from clora_ext.project import Project, State

if TYPE_CHECKING:
    from PIL.Image import Image as Drawing

    from clora_ext.evolving.fold import Lesson
    from clora_ext.families.base import Model

__all__ = ["Prompt", "draw_before", "fold_lesson", "now", "show_sheet", "verify"]

_SHEET_SEEDS = (11, 12, 13, 14)
_SHEET_STEPS = 30
_SHEET_GUIDANCE = 4.0


class Prompt:
    """What the sheet's pictures are drawn by.

    Args:
        text: the prompt.
        size: side of the pictures, pixels.
    """

    def __init__(self, text: str, size: int) -> None:
        self.text = text
        self._size = size

    def draw(self, model: "Model", sink: Sink) -> "list[Drawing]":
        """Pictures with the sheet's fixed seeds."""
        return self._sample(model, _SHEET_SEEDS, lambda done, total: sink(SampleStep(done, total)))

    def glance(self, model: "Model") -> "Drawing":
        """The first of them."""
        return self._sample(model, _SHEET_SEEDS[:1], lambda done, total: None)[0]

    def _sample(
        self, model: "Model", seeds: Sequence[int], on_step: Callable[[int, int], None]
    ) -> "list[Drawing]":
        return model.sample(
            self.text,
            negative="",
            seeds=seeds,
            steps=_SHEET_STEPS,
            guidance=_SHEET_GUIDANCE,
            size=self._size,
            on_step=on_step,
        )


def draw_before(ground: Ground, prompt: Prompt, sink: Sink) -> "list[Drawing]":
    """What the model draws for the concept's prompt before it has learned it."""
    from clora_ext.config.precision import pick_precision
    from clora_ext.formats.composed import open_model

    sink(Stage("sample", "before"))
    try:
        return prompt.draw(ground.family.load(open_model(ground.current_file), pick_precision()), sink)
    finally:
        _free_models()


def fold_lesson(
    ground: Ground, project: Project, lesson: "Lesson", trigger: tuple[str, str], sink: Sink
) -> State:
    """Write memory and checkpoint of the new state; nothing refers to them yet.

    Args:
        ground: the state before.
        project: open for writing.
        lesson: what was learned.
        trigger: the new concept's token and class, for the checkpoint's history.
        sink: told of every tensor.
    """
    from clora_ext.evolving.fold import fold

    sink(Stage("fold", lesson.name))
    evolving = ground.evolving()
    memory = project.memory_dir / "new.safetensors"
    checkpoint = project.checkpoints_dir / "new.safetensors"
    history = [
        *((concept.token, concept.class_name, concept.strategy) for concept in project.concepts),
        (*trigger, lesson.name),
    ]
    entries = [dict(zip(("token", "class", "strategy"), words, strict=True)) for words in history]
    metadata = {**evolving.current.header.metadata, HISTORY_KEY: encode_history(entries, {})}
    digest = fold(evolving, lesson, checkpoint, memory, metadata, sink)
    return project.adopt(ground.number, digest, checkpoint=checkpoint, memory=memory)


def verify(ground: Ground, project: Project, state: State, prompt: Prompt, sink: Sink) -> "list[Drawing]":
    """Open the new checkpoint as any program would, compare its content and draw with it.

    Raises:
        CheckpointError: it does not hold what was written.
    """
    from clora_ext.config.precision import pick_precision
    from clora_ext.formats.checkpoint import Checkpoint, content_hash

    sink(Stage("verify", state.content_hash[:12]))
    checkpoint = Checkpoint(project.checkpoints_dir / state.checkpoint)
    if content_hash(checkpoint) != state.content_hash:
        message = f"{checkpoint.path} does not hold what was written"
        raise CheckpointError(message, fix="check the disk, then run the same command again")
    sink(Stage("sample", "after"))
    _free_models()
    return prompt.draw(ground.family.load(checkpoint, pick_precision()), sink)


def _free_models() -> None:
    """Give back the memory of models that nothing refers to any more.

    They refer to themselves, so it would be given back some time later, beside the next one: two of SDXL in
    float32 are 28 GB.
    """
    gc.collect()


def show_sheet(
    prompt: str,
    before: "Sequence[Drawing]",
    after: "Sequence[Drawing]",
    losses: Sequence[float],
    target: Path,
    sink: Sink,
) -> None:
    """The contact sheet: what was drawn before, what is drawn now.

    The pictures that were taught are not on it: a project keeps none.
    """
    from clora_ext.sampling.contact_sheet import Row, Story, write_sheet

    rows = [Row(f"before: {prompt}", before), Row("after", after)]
    with writing(target):
        write_sheet(rows, max(image.width for image in after), Story(prompt, tuple(losses)), target)
    sink(Sampled(target))


def now() -> str:
    """The time of a commit, ISO 8601 in UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
