"""Whether a project has learned just this before: the same pictures or LoRA, taught in the same way."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clora_ext.data import Concept, Picture, scan
from clora_ext.errors import UsageError
from clora_ext.project import ConceptRecord, Project
from clora_ext.runs.context import project_context
from clora_ext.runs.plan import Request

from .result import Result

__all__ = ["find_learned", "find_learned_lora"]


def find_learned(project: Project, request: Request) -> Result | None:
    """The stored result of ``request``; None: there is still something to teach.

    Asking twice for the same is no wish for a second concept: a run may have been killed after its commit,
    or a graph queued again. Whoever wants the same pictures once more names another token.

    Raises:
        UsageError: the pictures are a concept already and were taught otherwise, or the request wants to
            keep an adapter that was not kept.
        CloraError: the pictures cannot be used; see :func:`clora_ext.data.scan`.
    """
    if not project.concepts:
        return None
    settings = (request.settings or project_context(project, request.base).suggested).as_dict()
    for record in reversed(project.concepts):
        named = request.token in {None, record.token} and request.class_name in {None, record.class_name}
        if not named or not _same_pictures(_pictures(request, record), record):
            continue
        if record.settings == settings:
            _check_kept(request.export_lora, record)
            return _stored(project, record)
        if request.token is None:
            raise _taught_otherwise(record, settings)
    return None


def find_learned_lora(
    project: Project, sha256: str, settings: Mapping[str, Any], strategy: str
) -> Result | None:
    """The stored result of a LoRA that was folded in; None: it was not.

    Args:
        project: where to look.
        sha256: of the LoRA's file.
        settings: as the concept's record would have them.
        strategy: by which it is to be folded.
    """
    for record in project.concepts:
        if (
            record.dataset_fingerprint == sha256
            and record.settings == settings
            and record.strategy == strategy
        ):
            return _stored(project, record)
    return None


def _pictures(request: Request, record: ConceptRecord) -> Sequence[Picture]:
    """The pictures, with the captions that they would have as the concept of ``record``."""
    concept = Concept(record.token, record.class_name)
    found = scan(
        request.images, concept=concept, resolution=1, skip_bad=request.skip_bad, convert=request.convert
    )
    return found.pictures


def _same_pictures(pictures: Sequence[Picture], record: ConceptRecord) -> bool:
    """Whether a concept was taught by these pictures and captions."""
    return sorted((p.sha256, p.caption) for p in pictures) == sorted(
        (i.sha256, i.caption) for i in record.images
    )


def _taught_otherwise(record: ConceptRecord, settings: Mapping[str, Any]) -> UsageError:
    """The complaint about pictures that would be learned twice."""
    other = [name for name, value in settings.items() if record.settings.get(name) != value]
    message = (
        f"these pictures are concept {record.number} already ({record.token} {record.class_name}), "
        f"taught with another {', '.join(other)}"
    )
    return UsageError(message, fix="undo it first, or give a --token of its own to teach them twice")


def _check_kept(target: Path | None, record: ConceptRecord) -> None:
    """An adapter that was folded in cannot be had again."""
    if target is not None and not target.exists():
        message = f"concept {record.number} ({record.token}) was taught already, and its adapter was not kept"
        fix = "export all that was learned by `clora export --lora`, or clora undo and teach it again"
        raise UsageError(message, fix=fix)


def _stored(project: Project, record: ConceptRecord) -> Result:
    """What the run that taught it has given."""
    checkpoint, current = project.checkpoint_path, project.current
    assert checkpoint is not None  # a project with concepts has a state  # noqa: S101
    assert current is not None  # noqa: S101
    trigger = f"{record.token} {record.class_name}"
    return Result(
        project=project.folder,
        checkpoint=checkpoint,
        content_hash=current.content_hash,
        number=record.number,
        trigger_prompt=record.images[0].caption if record.images else f"a photo of {trigger}",
        sheet=project.sheets_dir / (record.sheet or "none"),
        first_loss=record.first_loss,
        last_loss=record.last_loss,
        seconds=0.0,
    )
