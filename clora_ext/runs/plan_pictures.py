"""The plan of training on pictures."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from clora_ext.adapters.sites import Target
from clora_ext.config.settings import Settings
from clora_ext.data import (
    Concept,
    Cut,
    Dataset,
    Picture,
    bucket_sizes,
    covering,
    held_out_of,
    joined,
    name_concept,
    nearest,
    scan_subset,
    steps_per_epoch,
)
from clora_ext.errors import CheckpointError, DatasetError, UsageError
from clora_ext.formats.text import counted, escaped
from clora_ext.formats.training_state import STATE_FILE
from clora_ext.project import ConceptRecord
from clora_ext.prompts.untrained import untrained_prompt
from clora_ext.sampling.recorded import recorded_prompt
from clora_ext.training.state import resume_step

from .already_learned import find_learned_pictures
from .cut_texts import cut_texts
from .lora_files import check_new_file
from .plan import Plan, bucketed
from .plan_basis import PlanBasis
from .request import Pictures
from .scalar_log import check_scalar_log

__all__ = ["plan_pictures"]


def plan_pictures(basis: PlanBasis, source: Pictures) -> Plan:
    """Decode and hash the pictures once; see whether they have been learned already, or a run was stopped.

    Raises:
        CloraError: of the kind and with the remedy that fits what is wrong.
    """
    request = basis.request
    check_scalar_log(source.log_dir)
    targets = _targets(basis)
    concept, unusable_name = _name(basis, source)
    dataset = _scanned(basis, source, concept)
    cuts, held_out_cuts = _cuts(basis, dataset.pictures), _cuts(basis, dataset.held_out)
    settings = _in_steps(basis.settings, dataset, cuts)
    output = source.lora
    kept = None if output is None else output.path
    learned = find_learned_pictures(basis.held, request, dataset, settings, kept)
    if learned is not None:
        concept = Concept(learned.token, learned.class_name, "as it was learned")
    elif unusable_name is not None:
        raise unusable_name
    fingerprint = basis.fingerprint(dataset.fingerprint, settings.shaping())
    if learned is None and output is not None:
        epoch = steps_per_epoch(bucketed(dataset.pictures, cuts), settings.data.batch_size)
        on_the_way = output.on_the_way(settings.schedule.steps, epoch).values()
        for file in (output.path, *(one for files in on_the_way for one in files)):
            _check_lora_target(file, request.project, fingerprint)
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
        cuts=cuts,
        held_out_cuts=held_out_cuts,
        sample_prompt=prompt,
        cut_texts=cut_texts(basis.context, settings.prompts, _texts(dataset, prompt)),
        learned=learned,
        resume_step=0 if learned is not None else _resume_step(basis, fingerprint),
        fingerprint=fingerprint,
    )


def _scanned(basis: PlanBasis, source: Pictures, concept: Concept) -> Dataset:
    """All folders."""
    rules = basis.settings.validation
    every = joined(
        [
            scan_subset(
                subset,
                concept=concept,
                resolution=subset.resolution or basis.resolution,
                skip_bad=source.skip_bad,
                convert=source.convert,
            )
            for subset in source.parts(basis.settings)
        ]
    )
    return held_out_of(every, rules.validation_split, rules.validation_seed)


def _cuts(basis: PlanBasis, pictures: Sequence[Picture]) -> tuple[Cut, ...]:
    """How each picture is scaled and cut.

    Raises:
        DatasetError: some pictures fit no bucket of sd-scripts'; all of them are named.
    """
    found = [_cut_or_reason(picture, basis) for picture in pictures]
    cuts = tuple(one for one in found if isinstance(one, Cut))
    wrong = [one for one in found if isinstance(one, str)]
    if wrong:
        message = f"{counted(len(wrong), 'picture')} cannot be cut:\n" + "\n".join(wrong)
        raise DatasetError(message, fix="leave them out, or change the buckets")
    return cuts


def _cut_or_reason(picture: Picture, basis: PlanBasis) -> Cut | str:
    try:
        return _cut(picture, basis)
    except UsageError as error:
        return f"  {escaped(picture.path)}: {error.message}; {error.fix}"


def _cut(picture: Picture, basis: PlanBasis) -> Cut:
    """By clora's buckets, or by sd-scripts' where its file asks for them."""
    side = picture.subset.resolution or basis.resolution
    multiple, buckets = basis.context.size_multiple, picture.subset.buckets
    size = picture.width, picture.height
    if buckets is None:
        return covering(*size, *nearest(*size, bucket_sizes(side, multiple)))
    if buckets.step % multiple:
        message = f"bucket_reso_steps {buckets.step} is no multiple of {multiple}, as this model needs"
        raise UsageError(message, fix=f"write bucket_reso_steps = {multiple}, or a multiple of it")
    return buckets.cut(size, (side, side))


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


def _in_steps(settings: Settings, dataset: Dataset, cuts: Sequence[Cut]) -> Settings:
    """The settings with epochs turned into steps."""
    epoch = steps_per_epoch(bucketed(dataset.pictures, cuts), settings.data.batch_size)
    epochs, between = settings.schedule.epochs, settings.sampling.preview_every_epochs
    if epochs is not None:
        settings = settings.with_values(steps=epochs * epoch)
    if between and not settings.sampling.preview_every:
        settings = settings.with_values(preview_every=between * epoch)
    if settings.validation.validation_split and not settings.sampling.validate_every:
        by_epochs = settings.sampling.validate_every_epochs * epoch
        settings = settings.with_values(validate_every=by_epochs or max(1, settings.schedule.steps // 10))
    return settings


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


def _check_lora_target(target: Path, project: Path, fingerprint: str) -> None:
    """Asked before anything is trained: where the adapter is to be kept."""
    check_new_file(target, plan=fingerprint)
    if project.absolute() in target.absolute().parents:
        message = f"{target} lies in the project, which keeps no adapters"
        raise UsageError(message, fix="name a file outside of it")


def _untrained_prompt(concept: Concept, dataset: Dataset, learned: ConceptRecord | None) -> str:
    """A prompt that shows the concept and was not trained with."""
    if learned is not None:
        return recorded_prompt(learned)
    return untrained_prompt(concept.trigger, [picture.caption for picture in dataset.taught])


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
