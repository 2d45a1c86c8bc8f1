"""The plan of training on pictures."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from clora_ext.adapters.sites import Target
from clora_ext.config.settings import Settings
from clora_ext.data import (
    Bucketed,
    Concept,
    Dataset,
    bucket_sizes,
    name_concept,
    nearest,
    scan,
    steps_per_epoch,
)
from clora_ext.errors import CheckpointError, UsageError
from clora_ext.formats.text import escaped
from clora_ext.formats.training_state import STATE_FILE
from clora_ext.project import ConceptRecord
from clora_ext.prompts.untrained import untrained_prompt
from clora_ext.sampling.recorded import recorded_prompt
from clora_ext.training.state import resume_step

from .already_learned import find_learned_pictures
from .cut_texts import cut_texts
from .lora_files import check_new_file
from .plan import Plan
from .plan_basis import PlanBasis
from .request import Pictures

__all__ = ["plan_pictures"]


def plan_pictures(basis: PlanBasis, source: Pictures) -> Plan:
    """Decode and hash the pictures once; see whether they have been learned already, or a run was stopped.

    Raises:
        CloraError: of the kind and with the remedy that fits what is wrong.
    """
    request = basis.request
    targets, buckets = _targets(basis), bucket_sizes(basis.resolution, basis.context.size_multiple)
    concept, unusable_name = _name(basis, source)
    dataset = scan(
        source.folder,
        concept=concept,
        resolution=basis.resolution,
        skip_bad=source.skip_bad,
        convert=source.convert,
        repeats=source.repeats,
        captions=basis.settings.captions,
    )
    sizes = tuple(nearest(picture.width, picture.height, buckets) for picture in dataset.pictures)
    settings = _in_steps(basis.settings, dataset, sizes)
    learned = find_learned_pictures(basis.held, request, dataset, settings, source.export_lora)
    if learned is not None:
        concept = Concept(learned.token, learned.class_name, "as it was learned")
    elif unusable_name is not None:
        raise unusable_name
    fingerprint = basis.fingerprint(dataset.fingerprint, settings.shaping())
    if learned is None:
        _check_lora_target(source.export_lora, request.project, fingerprint)
    prompt = settings.sampling.sample_prompt or _untrained_prompt(concept, dataset, learned)
    return Plan(
        request=request,
        context=basis.context,
        settings=settings,
        strategy=basis.strategy,
        concept=concept,
        material=dataset,
        targets=targets,
        resolution=basis.resolution,
        sizes=sizes,
        sample_prompt=prompt,
        cut_texts=cut_texts(basis.context, _texts(dataset, prompt)),
        learned=learned,
        resume_step=0 if learned is not None else _resume_step(basis, fingerprint),
        fingerprint=fingerprint,
    )


def _targets(basis: PlanBasis) -> tuple[Target, ...]:
    """The layers to teach.

    Raises:
        CheckpointError: there are none.
        UsageError: the rank is above a layer's smaller side, which is no low rank.
    """
    adapter, context = basis.settings.adapter, basis.context
    chosen = context.family.targets(context.header, adapter.targets, text_encoders=adapter.text_encoder)
    targets = tuple(basis.strategy.choose_targets(chosen))
    if not targets:
        raise CheckpointError(f"{context.base_file} has no layer to teach", fix="use another checkpoint")
    smallest = min(targets, key=lambda target: min(target.shape))
    if adapter.rank > min(smallest.shape):
        message = f"rank {adapter.rank} is larger than the layer {smallest.name} of shape "
        message += f"{list(smallest.shape)}"
        raise UsageError(message, fix=f"use a rank of {min(smallest.shape)} at the most")
    return targets


def _in_steps(settings: Settings, dataset: Dataset, sizes: Sequence[tuple[int, int]]) -> Settings:
    """The settings with the number of steps that the asked epochs take."""
    if settings.schedule.epochs is None:
        return settings
    pictures = [
        Bucketed(*size, picture.repeats) for size, picture in zip(sizes, dataset.pictures, strict=True)
    ]
    steps = settings.schedule.epochs * steps_per_epoch(pictures, settings.data.batch_size)
    return settings.with_values(steps=steps)


def _name(basis: PlanBasis, source: Pictures) -> tuple[Concept, UsageError | None]:
    """What the pictures are called; a name that is in use may be that of a concept that they already are."""
    try:
        return name_concept(
            source.folder,
            token=basis.request.token,
            class_name=basis.request.class_name,
            taken=list(basis.context.used_tokens),
            is_known=basis.context.knows_word,
        ), None
    except UsageError as error:
        same = [record for record in basis.held if basis.request.token in {None, record.token}]
        if not same:
            raise
        return Concept(same[-1].token, same[-1].class_name), error


def _check_lora_target(target: Path | None, project: Path, fingerprint: str) -> None:
    """Asked before anything is trained: where the adapter is to be kept."""
    if target is None:
        return
    check_new_file(target, plan=fingerprint)
    if project.absolute() in target.absolute().parents:
        message = f"{target} lies in the project, which keeps no adapters"
        raise UsageError(message, fix="name a file outside of it")


def _untrained_prompt(concept: Concept, dataset: Dataset, learned: ConceptRecord | None) -> str:
    """A prompt that shows the concept and was not trained with."""
    if learned is not None:
        return recorded_prompt(learned)
    return untrained_prompt(concept.trigger, [picture.caption for picture in dataset.pictures])


def _texts(dataset: Dataset, prompt: str) -> Iterator[tuple[str, str]]:
    """Everything that the text encoder reads, with what it is."""
    for picture in dataset.pictures:
        yield f"the caption of {escaped(picture.path.name)}", picture.caption
    if all(picture.caption != prompt for picture in dataset.pictures):
        yield "the prompt of the samples", prompt


def _resume_step(basis: PlanBasis, fingerprint: str) -> int:
    """Steps that a stopped run of the same plan has done."""
    if basis.project is None:
        return 0
    return resume_step(basis.project.training_dir / STATE_FILE, fingerprint)
