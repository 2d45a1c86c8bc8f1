"""The plan of weighing a concept of the project anew: its kept change, times what is missing."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from clora_ext import strategies
from clora_ext.config.settings import Settings
from clora_ext.data import Concept
from clora_ext.errors import ProjectError, UsageError, did_you_mean
from clora_ext.formats.models import file_sha256
from clora_ext.formats.text import quoted
from clora_ext.project import ConceptRecord, Project, Reweighting
from clora_ext.project.concept_files import concept_files
from clora_ext.project.weights import weights_of
from clora_ext.sampling.contact_sheet import read_sheet_metadata
from clora_ext.sampling.recorded import recorded_prompt, recorded_reading, recorded_sampling

from .cut_texts import cut_texts
from .lora_material import LoraMaterial
from .plan import Plan
from .plan_basis import PlanBasis
from .request import Reweight

if TYPE_CHECKING:
    from clora_ext.adapters.delta import Delta
    from clora_ext.adapters.sites import Target

__all__ = ["plan_reweighting"]

_DIALECT = "clora"


def plan_reweighting(basis: PlanBasis, source: Reweight) -> Plan:
    """Find the concept and what was kept of it; see whether it has that weight already.

    Raises:
        UsageError: there is no such concept, or its weight cannot be changed exactly.
        ProjectError: the change that was kept is gone.
        CheckpointError: it is damaged.
    """
    project, context = basis.project, basis.context
    if project is None:
        raise ProjectError(f"{basis.request.project} does not exist", fix="teach a first concept")
    records = project.concepts
    record = _find(project, source.token)
    _check_exact(project, record)
    before = weights_of(records)[record.number]
    if source.weight and not before:
        _check_token_is_free(project, record)
    material = _material(basis, project, record, source.weight - before)
    basis = replace(basis, settings=_as_it_was_drawn(basis.settings, record))
    prompt = _prompt(project, record)
    return Plan(
        request=basis.request,
        context=context,
        settings=basis.settings,
        strategy=basis.strategy,
        concept=Concept(record.token, record.class_name, "as it was learned"),
        material=material,
        targets=tuple(material.changes),
        resolution=basis.resolution,
        cuts=(),
        sample_prompt=prompt,
        cut_texts=cut_texts(context, recorded_reading(record), [("the prompt of the samples", prompt)]),
        learned=_latest(records, record) if source.weight == before else None,
        resume_step=0,
        fingerprint=basis.fingerprint(material.sha256, material.record),
        reweighting=Reweighting(record.number, source.weight),
    )


def _find(project: Project, token: str) -> ConceptRecord:
    """The concept of that token, in the model or removed; of several, the newest.

    Raises:
        UsageError: there is none.
    """
    taught = [record for record in project.concepts if record.reweighting is None]
    in_model = {record.number for record in project.held}
    named = [record for record in taught if record.token.casefold() == token.casefold()]
    if named:
        return max(named, key=lambda record: (record.number in in_model, record.number))
    known = list(dict.fromkeys(record.token for record in taught))
    fix = did_you_mean(token, known) if known else "teach a first concept"
    raise UsageError(f"{project.folder} has no concept {quoted(token)}", fix=fix)


def _check_exact(project: Project, record: ConceptRecord) -> None:
    """Only what was added, and nothing but added to since, can be taken out again.

    Raises:
        UsageError: says why it cannot, and what is left to do.
    """
    what = f"concept {record.number}, {record.trigger},"
    if record.delta is None:
        why = "its change was not kept (--keep-delta)"
        if not strategies.adds(record.strategy):
            why = f"{record.strategy} does not simply add what is learned, so there is no change to take out"
        message = f"{what} cannot be removed or weighed exactly: {why}"
        raise UsageError(message, fix=_way_out(project, record))
    for later in project.concepts[record.number :]:
        if not strategies.adds(later.strategy):
            message = (
                f"{what} cannot be removed or weighed exactly any more: concept {later.number}, "
                f"{later.trigger}, was folded later by {later.strategy}, which does not simply add, so what "
                "is left of the change in the model is not known"
            )
            raise UsageError(message, fix=_way_out(project, record))


def _way_out(project: Project, record: ConceptRecord) -> str:
    """How the model can be had without a concept that cannot be taken out."""
    back = project.number - record.number + 1
    again = "teach again: start a new project and teach the others there"
    if back > project.undoable:
        return again
    if back == 1:
        return "clora undo takes it back, since it is the newest"
    return f"clora undo, {back} times, then teach the later ones again; or {again}"


def _check_token_is_free(project: Project, record: ConceptRecord) -> None:
    """A removed concept comes back only where nothing else bears its name now."""
    if record.token.casefold() in {token.casefold() for token in project.tokens}:
        message = f"the token {record.token!r} belongs to another concept now"
        raise UsageError(message, fix="remove that one first")


def _material(basis: PlanBasis, project: Project, record: ConceptRecord, weight: float) -> LoraMaterial:
    """What was kept, at the weight that is missing."""
    from clora_ext.evolving.kept_delta import read_delta
    from clora_ext.formats.checkpoint import Checkpoint

    file = project.deltas_dir / (record.delta or "")
    if not file.is_file():
        message = f"the change of concept {record.number}, {record.trigger}, is gone: there is no {file}"
        raise ProjectError(message, fix="restore it from a backup")
    context, stored = basis.context, Checkpoint(file)
    family, header = context.family, context.header
    changes: dict[Target, Delta] = read_delta(
        stored, (*family.parameters(header), *family.token_tables(header))
    )
    return LoraMaterial(
        changes={target: change.scaled(weight) for target, change in changes.items()},
        kinds=(),
        parameters=sum(stored.info(name).elements for name in stored.names),
        dialect=_DIALECT,
        weight=weight,
        sha256=file_sha256(file),
        file_name=file.name,
        notes=(),
    )


def _as_it_was_drawn(settings: Settings, record: ConceptRecord) -> Settings:
    """Samples that can be compared with those of the concept's own sheet."""
    drawn = replace(settings, sampling=recorded_sampling(record), prompts=recorded_reading(record))
    wished = drawn.with_values(resolution=record.setting("resolution"))
    return drawn if wished.problems() else wished


def _prompt(project: Project, record: ConceptRecord) -> str:
    """That the concept's own sheet was drawn by."""
    files = concept_files(project.folder, record.number, record.token, record.class_name)
    metadata = read_sheet_metadata(files.sheet)
    return metadata.prompt if metadata else recorded_prompt(record)


def _latest(records: Sequence[ConceptRecord], record: ConceptRecord) -> ConceptRecord:
    """The record that gave a concept its present weight."""
    weighed = [one for one in records if one.reweighting and one.reweighting.number == record.number]
    return weighed[-1] if weighed else record
