"""Export what was learned since the base as one LoRA file."""

from dataclasses import dataclass
from pathlib import Path

from clora_ext.data import Concept
from clora_ext.errors import ProjectError
from clora_ext.events import Sink, ignore
from clora_ext.project import Project
from clora_ext.runs.context import open_evolving, project_context
from clora_ext.runs.lora_files import check_new_file, write_layers

__all__ = ["ExportedLora", "export_lora"]


@dataclass(frozen=True, slots=True)
class ExportedLora:
    """A LoRA file that was written.

    Attributes:
        path: of the file.
        bytes: its size.
        layers: how many layers it changes.
        rank: of every layer, or less where the layer is smaller.
        captured: share of the squared norm of everything learned that it holds, in [0, 1].
    """

    path: Path
    bytes: int
    layers: int
    rank: int
    captured: float


def export_lora(
    project: Path, target: Path, rank: int = 64, *, overwrite: bool = False, sink: Sink = ignore
) -> ExportedLora:
    """Write everything learned since the base as one kohya LoRA for the base, fp16.

    Args:
        project: its folder.
        target: the new ``.safetensors`` file.
        rank: of the LoRA.
        overwrite: whether a file that is there may be replaced.
        sink: told what happens; may raise Cancelled to stop.

    Raises:
        UsageError: the rank, the file's name or an existing file does not allow it.
        ProjectError: nothing has been learned yet.
        StorageError: the disk is full or refuses.
    """
    from clora_ext.adapters.extract import extract

    check_new_file(target, overwrite=overwrite)
    opened = Project.open(project)
    if not opened.concepts:
        raise ProjectError(f"{project} has learned nothing yet", fix="teach a first concept")
    context, evolving = project_context(opened, None), open_evolving(opened)
    targets = evolving.changeable(context.family.modules(context.header))
    extracted = extract(targets, lambda target: evolving.layer(target, "").earlier, rank, sink)
    concepts = [Concept(record.token, record.class_name) for record in opened.concepts]
    written = write_layers(target, extracted.layers, context, concepts, sink)
    return ExportedLora(target, written.bytes, written.modules, rank, extracted.captured)
