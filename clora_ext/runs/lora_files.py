"""LoRA files and the layers of a model."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from clora_ext.adapters.sites import Target
from clora_ext.config.settings import PromptSettings
from clora_ext.data import Concept
from clora_ext.errors import CheckpointError, UsageError, writing
from clora_ext.events import FoldStep, Note, Sink, Stage
from clora_ext.formats.header import read_header
from clora_ext.formats.lora.metadata import Details
from clora_ext.formats.text import listed
from clora_ext.runs.context import ProjectContext
from clora_ext.runs.lora_output import LoraOutput

if TYPE_CHECKING:
    from torch import Tensor

    from clora_ext.adapters.factors import Factors
    from clora_ext.formats.lora.reader import Change, LoraFile
    from clora_ext.formats.lora.writer import WrittenLora

__all__ = ["LoraAbout", "bundled_words", "check_new_file", "read_changes", "write_layers"]

_NO_MAGNITUDES: "Mapping[Target, Tensor]" = MappingProxyType({})
_NO_WORDS: "Mapping[str, Mapping[str, Tensor]]" = MappingProxyType({})
# Forge takes a LoRA with more tensors that it cannot place for one of another model.
_MOST_UNREAD = 12
_PLAN_KEY = "clora.made_by"
_ENDING = ".safetensors"


def check_new_file(target: Path, *, overwrite: bool = False, plan: str = "") -> None:
    """Make sure that a LoRA can be written to ``target``; its folder is made when it is written.

    Args:
        target: the new file.
        overwrite: whether a file that is there may be replaced.
        plan: fingerprint of the run: what it left there before it was killed may be replaced.

    Raises:
        UsageError: its name or what is there does not allow it.
    """
    if target.suffix != _ENDING:
        raise UsageError(f"{target} does not end in {_ENDING}", fix=f"name it {target}{_ENDING}")
    if target.exists() and not overwrite and not (plan and _made_by(target) == plan):
        raise UsageError(f"{target} exists", fix="choose another name")
    there = next(folder for folder in target.absolute().parents if folder.exists())
    if not there.is_dir():
        raise UsageError(f"{target} cannot be written: {there} is no folder", fix="choose another name")
    if not os.access(there, os.W_OK):
        raise UsageError(f"{target} cannot be written: {there} is read-only", fix="choose another folder")


def _made_by(file: Path) -> str:
    """Fingerprint of the run that wrote a LoRA; empty if none is named."""
    try:
        return read_header(file).metadata.get(_PLAN_KEY, "")
    except CheckpointError:
        return ""  # somebody else's file


def read_changes(file: Path, context: ProjectContext) -> "tuple[LoraFile, dict[Target, Change]]":
    """A LoRA file and its changes by what they change of the model, in the order of names.

    Raises:
        CheckpointError: it is no LoRA for this model; see :func:`clora_ext.formats.lora.reader.read_lora`.
    """
    from clora_ext.formats.lora.reader import read_lora

    sites = {target.site: target for target in context.family.parameters(context.header)}
    lora = read_lora(file, list(sites))
    return lora, {sites[site]: change for site, change in lora.changes.items()}


@dataclass(frozen=True, slots=True)
class LoraAbout:
    """What a LoRA file says of itself.

    Attributes:
        concepts: what it draws; their triggers stand in the file, the newest first.
        prompts: how texts are read.
        output: dtype, and what is said in the place of what clora says; None: fp16, as clora says.
        plan: fingerprint of the run that trained it; see :func:`check_new_file`.
    """

    concepts: Sequence[Concept]
    prompts: PromptSettings
    output: LoraOutput | None = None
    plan: str = ""


def write_layers(
    file: Path,
    layers: "Mapping[Target, Factors]",
    context: ProjectContext,
    about: LoraAbout,
    sink: Sink,
    *,
    magnitudes: "Mapping[Target, Tensor]" = _NO_MAGNITUDES,
    embeddings: "Mapping[str, Mapping[str, Tensor]]" = _NO_WORDS,
) -> "WrittenLora":
    """Write adapters as a kohya LoRA file.

    Args:
        file: the new file.
        layers: the adapters.
        context: of the model that they are for.
        about: what the file says of itself.
        sink: told of every tensor, and of words that a file has no place for.
        magnitudes: of the outputs of layers that were trained with them (DoRA).
        embeddings: what the text encoders read changed words as; see
            :func:`clora_ext.runs.token_rows.word_vectors`.

    Raises:
        CheckpointError: values do not fit the dtype.
        StorageError: the disk is full or refuses.
    """
    from clora_ext.formats.lora.writer import write_lora

    sink(Stage("export", str(file)))
    with writing(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
    output, prompts = about.output, about.prompts
    triggers = [concept.trigger for concept in reversed(about.concepts)]
    details = Details(
        name=file.stem,
        trigger=triggers[0] if triggers else "",
        description=f"Taught by clora: {', '.join(triggers)}",
        base_name=context.base_file.name,
        base_hash=context.base.sha256,
        resolution=context.family.resolution(context.header),
        prediction="v" if context.prediction.kind == "v" else "",  # epsilon is understood
        zero_snr=context.prediction.zero_snr,
        clip_skip=prompts.clip_skip,
        max_token_length=prompts.max_token_length,
        tags={"clora": dict.fromkeys(triggers, 1)},
        about={} if output is None else output.about,
        comment="" if output is None else output.comment,
        extra={_PLAN_KEY: about.plan} if about.plan else {},
    )
    return write_lora(
        file,
        {target.site: factors for target, factors in layers.items()},
        context.family.name,
        details,
        magnitudes={target.site: one for target, one in magnitudes.items()},
        embeddings=bundled_words(embeddings, sink),
        dtype="F16" if output is None else output.stored,
        on_tensor=lambda done, total, name: sink(FoldStep(done, total, name)),
    )


def bundled_words(
    embeddings: "Mapping[str, Mapping[str, Tensor]]", sink: Sink
) -> "dict[str, Mapping[str, Tensor]]":
    """Those that a LoRA file has a place for, the newest first; tells which they are, and which are not."""
    found: dict[str, Mapping[str, Tensor]] = {}
    for word, vectors in reversed(list(embeddings.items())):
        # A dot would end the name there.
        if "." not in word and sum(map(len, (*found.values(), vectors))) <= _MOST_UNREAD:
            found[word] = vectors
    left_out = [word for word in embeddings if word not in found]
    if left_out:
        sink(Note(f"left out of the LoRA: what the text encoders read as {listed(left_out)}"))
    if found:
        sink(
            Note(
                f"bundled in the LoRA: what the text encoders read as {listed(found)}; "
                "docs/lora_files.md says which programs use it"
            )
        )
    return found
