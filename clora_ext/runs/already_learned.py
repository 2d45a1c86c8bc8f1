"""Whether a project has learned just this before: the same pictures or LoRA, taught in the same way."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clora_ext.config.recorded import settings_that_differ
from clora_ext.config.settings import Settings
from clora_ext.data import Concept, Dataset
from clora_ext.data.recaption import captions_as
from clora_ext.errors import TaughtOtherwise, UsageError
from clora_ext.project import ConceptRecord

from .lora_material import LoraMaterial
from .request import Request

__all__ = ["find_learned_lora", "find_learned_pictures"]


def find_learned_pictures(
    concepts: Sequence[ConceptRecord],
    request: Request,
    dataset: Dataset,
    settings: Mapping[str, Any],
    export_lora: Path | None,
) -> ConceptRecord | None:
    """The concept that these pictures are already; None: there is something to teach.

    Asking twice for the same is no wish for a second concept: a run may have been killed after its commit,
    or a graph queued again. Whoever wants the same pictures once more names another token.

    Raises:
        TaughtOtherwise: the pictures are a concept already and were taught otherwise.
        UsageError: the request wants to keep an adapter that was not kept.
    """
    for record in reversed(concepts):
        if not _is_named(request, record) or not _same_pictures(dataset, record):
            continue
        different = settings_that_differ(record.settings, settings)
        if not different:
            _check_kept(export_lora, record)
            _check_delta_kept(request, record)
            return record
        if request.token is None:
            raise _taught_otherwise(record, different)
    return None


def find_learned_lora(
    concepts: Sequence[ConceptRecord], request: Request, material: LoraMaterial, settings: Settings
) -> ConceptRecord | None:
    """The concept that this LoRA is already, folded in at this weight by this strategy.

    Raises:
        UsageError: the request wants to keep a change that was not kept.
    """
    for record in concepts:
        same_file = record.dataset_fingerprint == material.sha256
        # What else is recorded is how its samples' texts were read.
        folded = {name: record.settings.get(name) for name in material.record}
        same_way = (folded, record.strategy) == (material.record, settings.strategy)
        if same_file and same_way and request.token in {None, record.token}:
            _check_delta_kept(request, record)
            return record
    return None


def _is_named(request: Request, record: ConceptRecord) -> bool:
    """Whether the request may mean this concept."""
    return request.token in {None, record.token} and request.class_name in {None, record.class_name}


def _same_pictures(dataset: Dataset, record: ConceptRecord) -> bool:
    """Whether the concept was taught by these pictures with the captions that they would have as it."""
    if {picture.sha256 for picture in dataset.pictures} != {image.sha256 for image in record.images}:
        return False
    captioned = captions_as(dataset, Concept(record.token, record.class_name))
    return sorted((p.sha256, p.caption) for p in captioned.pictures) == sorted(
        (i.sha256, i.caption) for i in record.images
    )


def _taught_otherwise(record: ConceptRecord, different: Sequence[str]) -> TaughtOtherwise:
    """The complaint about pictures that would be learned twice."""
    message = (
        f"these pictures are concept {record.number} already ({record.token} {record.class_name}), "
        f"taught with another {', '.join(different)}"
    )
    return TaughtOtherwise(message, fix="undo it first, or give a --token of its own to teach them twice")


def _check_delta_kept(request: Request, record: ConceptRecord) -> None:
    """A change that was folded in cannot be kept afterwards."""
    if request.keep_delta and record.delta is None:
        message = f"concept {record.number} ({record.token}) is learned already, and its change was not kept"
        raise UsageError(message, fix="clora undo, then teach it again with --keep-delta")


def _check_kept(target: Path | None, record: ConceptRecord) -> None:
    """An adapter that was folded in cannot be had again."""
    if target is not None and not target.exists():
        message = f"concept {record.number} ({record.token}) was taught already, and its adapter was not kept"
        fix = "export all that was learned by `clora export --lora`, or clora undo and teach it again"
        raise UsageError(message, fix=fix)
