"""Export what was learned since the base as one LoRA file."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clora_ext.adapters.sites import Target
from clora_ext.data import Concept
from clora_ext.errors import ProjectError
from clora_ext.events import Note, Sink, ignore
from clora_ext.formats.text import quoted
from clora_ext.project import Project
from clora_ext.runs.context import ProjectContext, project_context
from clora_ext.runs.lora_files import LoraAbout, check_new_file, write_layers
from clora_ext.runs.token_rows import changed_words

if TYPE_CHECKING:
    from clora_ext.evolving.model import Evolving

__all__ = ["ExportedLora", "export_lora"]


@dataclass(frozen=True, slots=True)
class ExportedLora:
    """A LoRA file that was written.

    Attributes:
        path: of the file.
        bytes: its size.
        layers: how many layers it changes.
        rank: of every layer, or less where the layer is smaller.
        captured: share of the squared norm of all that the layers have learned that it holds, in [0, 1].
        left_out: names of changed norms, biases and embeddings: no kohya LoRA has a place for them.
        words: that the text encoders read otherwise than the base's; how, is bundled in as an embedding.
    """

    path: Path
    bytes: int
    layers: int
    rank: int
    captured: float
    left_out: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


def export_lora(
    project: Path,
    target: Path,
    rank: int = 64,
    *,
    overwrite: bool = False,
    sink: Sink = ignore,
    base: Path | None = None,
) -> ExportedLora:
    """Write everything learned since the base as one kohya LoRA for the base, fp16.

    Args:
        project: its folder.
        target: the new ``.safetensors`` file.
        rank: of the LoRA.
        overwrite: whether a file that is there may be replaced.
        sink: told what happens; may raise Cancelled to stop.
        base: where the project's base lies now, without which nobody can tell what was learned since; None:
            where it was.

    Raises:
        UsageError: the rank, the file's name or an existing file does not allow it.
        ProjectError: nothing has been learned yet, or the base is gone or another model.
        StorageError: the disk is full or refuses.
    """
    from clora_ext.adapters.extract import extract

    check_new_file(target, overwrite=overwrite)
    opened = Project.open(project)
    if not opened.concepts:
        raise ProjectError(f"{project} has learned nothing yet", fix="teach a first concept")
    context = project_context(opened, base)
    evolving = context.evolving()
    layers = set(context.family.modules(context.header))
    changeable = evolving.changeable(context.family.parameters(context.header))
    targets = [target for target in changeable if target in layers]
    concepts = [Concept(record.token, record.class_name) for record in opened.held]
    words = changed_words(context, evolving, [concept.token for concept in concepts])
    extracted = extract(targets, lambda target: evolving.layer(target, "").earlier, rank, sink)
    about = LoraAbout(concepts, context.reading)
    written = write_layers(target, extracted.layers, context, about, sink, embeddings=words)
    left_out = tuple(
        target.name
        for target in changeable
        if target not in layers
        and _is_changed(evolving, target, _read_tokens(context, target, written.words))
    )
    if left_out:
        sink(Note(_left_out(left_out)))
    return ExportedLora(
        target, written.bytes, written.modules, rank, extracted.captured, left_out, written.words
    )


def _read_tokens(context: ProjectContext, target: Target, words: Iterable[str]) -> list[int]:
    """The rows of a table of tokens that the words are read by; none of another parameter."""
    if target not in context.family.token_tables(context.header):
        return []
    read = context.family.reader(context.header)
    return [token for word in words for token in read(word)]


def _is_changed(evolving: "Evolving", target: Target, but: Sequence[int]) -> bool:
    """Whether a parameter differs from the base's in other rows than ``but``."""
    change = evolving.layer(target, "").earlier
    change[but] = 0
    return bool(change.any())


def _left_out(names: Sequence[str]) -> str:
    """What a user should know of parameters that the LoRA does not hold."""
    count = f"{len(names)} changed norms, biases or embeddings, first {quoted(names[0])}"
    return f"left out of the LoRA: {count}; clora export without --lora keeps them"
