"""The plan of training on pictures."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from clora_ext.adapters.sites import Target
from clora_ext.config.loss_settings import loss_problems
from clora_ext.config.network_settings import layer_ranks
from clora_ext.config.settings import Settings
from clora_ext.data import (
    Concept,
    Dataset,
    held_out_of,
    joined,
    name_concept,
    scan_subset,
)
from clora_ext.errors import CheckpointError, SettingsError, UsageError
from clora_ext.formats.prediction import Prediction
from clora_ext.formats.text import escaped
from clora_ext.formats.training_state import STATE_FILE
from clora_ext.project import ConceptRecord
from clora_ext.prompts.untrained import untrained_prompt
from clora_ext.sampling.prompt_file import read_prompt_file
from clora_ext.sampling.recorded import recorded_prompt
from clora_ext.training.state import resume_step

from .already_learned import find_learned_pictures
from .cut_texts import cut_texts
from .cuts import cuts_of, side_of
from .job import check_shards, check_stopped, shared_out
from .layer_rank import layer_rank
from .lora_files import check_new_file
from .lora_output import LoraOutput
from .other_vae import other_vae
from .plan import Plan
from .plan_basis import PlanBasis
from .request import Pictures
from .scalar_log import check_scalar_log
from .starting_lora import StartingLora, read_starting_lora

__all__ = ["plan_pictures"]


def plan_pictures(basis: PlanBasis, source: Pictures) -> Plan:
    """Decode and hash the pictures once; see whether they have been learned already, or a run was stopped.

    Raises:
        CloraError: of the kind and with the remedy that fits what is wrong.
    """
    check_scalar_log(source)
    _check_narrow(basis.settings)
    check_shards(basis.settings, basis.processes)
    basis, starting = _started_from(basis, source)
    _check_magnitudes(basis)
    targets = _targets(basis)
    if starting is not None:
        starting.check_layers(targets)
    concept, unusable_name = _name(basis, source)
    scanned = _scanned(basis, source, concept)
    cuts, held_out_cuts = cuts_of(scanned.pictures, basis), cuts_of(scanned.held_out, basis)
    dataset, settings, epoch = shared_out(basis, scanned, cuts, basis.processes)
    _check_loss(settings, basis.context.prediction)
    beside = {} if starting is None else dict(starting.record)
    if source.vae is not None:
        beside |= other_vae(source.vae, basis.context)
    kept = None if source.lora is None else source.lora.path
    taught_by = {**settings.as_dict(), **beside}
    learned = find_learned_pictures(basis.held, basis.request, dataset, taught_by, kept)
    fingerprint = basis.fingerprint(dataset.fingerprint, {**settings.shaping(), **beside})
    resume = 0
    if learned is not None:
        concept = Concept(learned.token, learned.class_name, "as it was learned")
    elif unusable_name is not None:
        raise unusable_name
    else:
        resume = _resume_step(basis, fingerprint)
        if not resume:
            check_stopped(basis, scanned, cuts, beside)
        _check_lora_targets(source.lora, settings.schedule.steps, epoch, basis.request.project, fingerprint)
    prompt = settings.sampling.sample_prompt or _untrained_prompt(concept, dataset, learned)
    return Plan(
        request=basis.request,
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
        resume_step=resume,
        fingerprint=fingerprint,
        starting=starting,
        preview_prompts=() if source.preview_prompts is None else read_prompt_file(source.preview_prompts),
        beside=beside,
        processes=basis.processes,
    )


def _started_from(basis: PlanBasis, source: Pictures) -> tuple[PlanBasis, StartingLora | None]:
    """The LoRA that the training starts from, and the settings as its rank and layers want them."""
    if source.start_from is None:
        return basis, None
    starting = read_starting_lora(source.start_from, basis.context)
    return replace(basis, settings=starting.adapted(basis.settings)), starting


def _check_loss(settings: Settings, prediction: Prediction) -> None:
    """Refuse weights of the error that are made for another kind of model.

    Raises:
        SettingsError: all that do not fit.
    """
    problems = loss_problems(settings.loss, predicts=prediction.kind, zero_snr=prediction.zero_snr)
    if problems:
        raise SettingsError(problems)


def _check_magnitudes(basis: PlanBasis) -> None:
    """Refuse magnitudes beside a LoRA where the strategy cannot fold or hold what they change.

    Raises:
        UsageError: names the strategy, and why.
    """
    name, strategy = basis.settings.strategy, basis.strategy
    if not basis.settings.network.dora or not (strategy.low_rank_only or strategy.projects):
        return
    reason = "folds pairs of low-rank factors alone"
    if not strategy.low_rank_only:
        reason = "closes directions of the inputs to the LoRA's factors"
    message = f"the strategy {name} {reason}, and --dora changes a weight in all of its directions"
    raise UsageError(message, fix="choose another strategy, such as --strategy merge, or leave --dora out")


def _scanned(basis: PlanBasis, source: Pictures, concept: Concept) -> Dataset:
    """All folders."""
    rules = basis.settings.validation
    every = joined(
        [
            scan_subset(
                subset,
                concept=concept,
                resolution=side_of(subset, basis),
                skip_bad=source.skip_bad,
                convert=source.convert,
            )
            for subset in source.parts(basis.settings)
        ]
    )
    return held_out_of(every, rules.validation_split, rules.validation_seed)


def _check_narrow(settings: Settings) -> None:
    """Refuse 8-bit weights where the device has none."""
    from clora_ext.config.precision import pick_precision

    if settings.compute.fp8_base and pick_precision().device.type == "mps":
        raise UsageError("Apple's GPUs have no 8-bit floating-point numbers", fix="leave --fp8-base out")


def _targets(basis: PlanBasis) -> tuple[Target, ...]:
    """The layers to teach.

    Raises:
        CheckpointError: there are none.
        UsageError: the rank is above a layer's smaller side, which is no low rank; or another rank is for
            layers that are not taught.
    """
    settings, context = basis.settings, basis.context
    network = settings.network
    chosen = context.family.targets(
        context.header,
        None if network.text_encoder_only else settings.adapter.targets,
        text_encoders=settings.teaches_text,
        convolutions=network.conv_rank is not None,
    )
    targets = tuple(basis.strategy.choose_targets(chosen))
    if not targets:
        message = f"{context.base_file} has no layer to teach by {settings.strategy}"
        raise CheckpointError(message, fix="choose another --strategy, or use another checkpoint")
    for part, *_ in layer_ranks(network.layer_ranks):
        if not any(part in f"{target.component}.{target.module}" for target in targets):
            message = f"--layer-ranks: no layer that is taught has {part!r:.80} in its name"
            raise UsageError(message, fix=f"one of them is {targets[0].component}.{targets[0].module}")
    ranks = {target: layer_rank(target, settings).rank for target in targets}
    tightest = min(targets, key=lambda target: min(target.shape) - ranks[target])
    if ranks[tightest] > min(tightest.shape):
        message = f"rank {ranks[tightest]} is larger than the layer {tightest.name} of shape "
        message += f"{list(tightest.shape)}"
        raise UsageError(message, fix=f"use a rank of {min(tightest.shape)} at the most")
    return targets


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


def _check_lora_targets(
    output: LoraOutput | None, steps: int, epoch: int, project: Path, fingerprint: str
) -> None:
    """Asked before anything is trained: where the adapter is to be kept, and those on the way to it.

    Raises:
        UsageError: a file lies in the project, or is there already.
    """
    if output is None:
        return
    on_the_way = output.on_the_way(steps, epoch).values()
    for target in (output.path, *(one for files in on_the_way for one in files)):
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
