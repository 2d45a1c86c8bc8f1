"""From trained adapters to a new state of the project: fold, verify, sample, write the contact sheet."""

import gc
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from clora_ext.errors import CheckpointError, writing
from clora_ext.events import Sampled, Sink, Stage
from clora_ext.formats.history import HISTORY_KEY, encode_history
from clora_ext.project import Project, State
from clora_ext.runs.context import ProjectContext
from clora_ext.sampling.samples import SamplePrompt

if TYPE_CHECKING:
    from PIL.Image import Image

    from clora_ext.evolving.fold import TrainedConcept

__all__ = ["fold_concept", "now", "sample_before", "verify", "write_contact_sheet"]


def sample_before(context: ProjectContext, prompt: SamplePrompt, sink: Sink) -> "list[Image]":
    """Samples of the concept's prompt by the model that has not learned it yet."""
    from clora_ext.config.precision import pick_precision
    from clora_ext.formats.composed import open_model

    sink(Stage("sample", "before"))
    try:
        return prompt.sample(context.family.load(open_model(context.current_file), pick_precision()), sink)
    finally:
        _free_models()


def fold_concept(
    context: ProjectContext, project: Project, concept: "TrainedConcept", trigger: tuple[str, str], sink: Sink
) -> State:
    """Write memory and checkpoint of the new state; nothing refers to them yet.

    Args:
        context: the state before.
        project: open for writing.
        concept: what was learned.
        trigger: the new concept's token and class, for the checkpoint's history.
        sink: told of every tensor.
    """
    from clora_ext.evolving.fold import fold

    sink(Stage("fold", concept.name))
    evolving = context.evolving()
    memory = project.memory_dir / "new.safetensors"
    checkpoint = project.checkpoints_dir / "new.safetensors"
    history = [
        *((one.token, one.class_name, one.strategy) for one in project.concepts),
        (*trigger, concept.name),
    ]
    entries = [dict(zip(("token", "class", "strategy"), words, strict=True)) for words in history]
    metadata = {**evolving.current.header.metadata, HISTORY_KEY: encode_history(entries, {})}
    digest = fold(evolving, concept, checkpoint, memory, metadata, sink)
    return project.adopt(context.number, digest, checkpoint=checkpoint, memory=memory)


def verify(
    context: ProjectContext, project: Project, state: State, prompt: SamplePrompt, sink: Sink
) -> "list[Image]":
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
    return prompt.sample(context.family.load(checkpoint, pick_precision()), sink)


def _free_models() -> None:
    """Give back the memory of models that nothing refers to any more.

    They refer to themselves, so it would be given back some time later, beside the next one: two of SDXL in
    float32 are 28 GB.
    """
    gc.collect()


def write_contact_sheet(
    prompt: str,
    before: "Sequence[Image]",
    after: "Sequence[Image]",
    losses: Sequence[float],
    target: Path,
    sink: Sink,
) -> None:
    """The contact sheet: what was drawn before, what is drawn now.

    The pictures that were taught are not on it: a project keeps none.
    """
    from clora_ext.sampling.contact_sheet import Row, SheetMetadata, write_sheet

    rows = [Row(f"before: {prompt}", before), Row("after", after)]
    with writing(target):
        write_sheet(rows, max(image.width for image in after), SheetMetadata(prompt, tuple(losses)), target)
    sink(Sampled(target))


def now() -> str:
    """The time of a commit, ISO 8601 in UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
