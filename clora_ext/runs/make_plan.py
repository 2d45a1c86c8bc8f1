"""From a request to a plan: reads and checks everything once, writes nothing."""

import json
from collections.abc import Mapping
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clora_ext import strategies
from clora_ext.adapters.sites import Target
from clora_ext.config.settings import Settings
from clora_ext.data import Concept, Dataset, name_concept, scan
from clora_ext.errors import CheckpointError, UsageError
from clora_ext.formats.models import file_sha256
from clora_ext.project import ConceptRecord, Project
from clora_ext.training.state import resume_step

from .already_learned import find_learned_lora, find_learned_pictures
from .checked_settings import checked_settings
from .context import ProjectContext, project_context
from .lora_files import check_new_file, read_layers
from .plan import LoraMaterial, Plan
from .request import Lora, Pictures, Request

if TYPE_CHECKING:
    from clora_ext.adapters.factors import Factors
    from clora_ext.strategies.base import Strategy

__all__ = ["STATE_FILE", "make_plan", "plan_within"]

STATE_FILE = "state.safetensors"
"""Where a stopped run leaves its training state, inside the project's training folder."""


def make_plan(request: Request) -> Plan:
    """Read and check everything that ``request`` needs; write nothing.

    Raises:
        CloraError: of the kind and with the remedy that fits what is wrong.
    """
    exists = Project.exists(request.project)
    return plan_within(Project.open(request.project) if exists else None, request)


def plan_within(project: Project | None, request: Request) -> Plan:
    """The plan for a project that is open (None: one that does not exist yet)."""
    asked = checked_settings(request.settings or Settings(), _problems(request))
    context = project_context(project, request.base)
    settings = context.suggested if request.settings is None else asked
    strategy = strategies.load(settings.strategy, settings.strategy_options)
    if isinstance(request.source, Lora):
        return _plan_lora(project, request, request.source, context, settings, strategy)
    return _plan_pictures(project, request, request.source, context, settings, strategy)


def _problems(request: Request) -> list[str]:
    """What is wrong about the call itself."""
    problems = []
    if request.keep < 0:
        problems.append(f"keep must not be negative, it is {request.keep}: 0 keeps no earlier model")
    if isinstance(request.source, Lora) and not (isfinite(request.source.weight) and request.source.weight):
        problems.append(
            f"a weight of {request.source.weight:g} changes nothing that could be meant; "
            "choose a number such as 0.8"
        )
    return problems


def _plan_pictures(
    project: Project | None,
    request: Request,
    source: Pictures,
    context: ProjectContext,
    settings: Settings,
    strategy: "Strategy",
) -> Plan:
    """The plan of training on pictures, which are decoded and hashed once."""
    resolution = settings.data.resolution or context.family.resolution(context.header)
    targets = _targets(context, settings, strategy)
    records = project.concepts if project is not None else ()
    concept, unusable_name = _name(request, source, context, records)
    dataset = scan(
        source.folder,
        concept=concept,
        resolution=resolution,
        skip_bad=source.skip_bad,
        convert=source.convert,
    )
    learned = find_learned_pictures(records, request, dataset, settings, source.export_lora)
    if learned is not None:
        concept = Concept(learned.token, learned.class_name)
    elif unusable_name is not None:
        raise unusable_name
    fingerprint = _fingerprint(context, dataset.fingerprint, settings.shaping())
    if learned is None:
        _check_lora_target(source.export_lora, request.project, fingerprint)
    resumable = project is not None and learned is None
    state = project.training_dir / STATE_FILE if project is not None else Path(STATE_FILE)
    return Plan(
        request=request,
        context=context,
        settings=settings,
        strategy=strategy,
        concept=concept,
        material=dataset,
        targets=targets,
        resolution=resolution,
        sample_prompt=settings.sampling.sample_prompt or _first_caption(dataset, learned),
        learned=learned,
        resume_step=resume_step(state, fingerprint) if resumable else 0,
        fingerprint=fingerprint,
    )


def _name(
    request: Request, source: Pictures, context: ProjectContext, records: tuple[ConceptRecord, ...]
) -> tuple[Concept, UsageError | None]:
    """What the pictures are called; a name that is in use may be that of a concept that they already are."""
    try:
        return name_concept(
            source.folder,
            token=request.token,
            class_name=request.class_name,
            taken=list(context.used_tokens),
        ), None
    except UsageError as error:
        same = [record for record in records if request.token in {None, record.token}]
        if not same:
            raise
        return Concept(same[-1].token, same[-1].class_name), error


def _first_caption(dataset: Dataset, learned: ConceptRecord | None) -> str:
    """A prompt that shows the concept."""
    if learned is not None and learned.images:
        return learned.images[0].caption
    return dataset.pictures[0].caption


def _targets(context: ProjectContext, settings: Settings, strategy: "Strategy") -> tuple[Target, ...]:
    """The layers to teach.

    Raises:
        CheckpointError: there are none.
        UsageError: the rank is above a layer's smaller side, which is no low rank.
    """
    adapter = settings.adapter
    chosen = context.family.targets(context.header, adapter.targets, text_encoders=adapter.text_encoder)
    targets = tuple(strategy.choose_targets(chosen))
    if not targets:
        raise CheckpointError(f"{context.base_file} has no layer to teach", fix="use another checkpoint")
    smallest = min(targets, key=lambda target: min(target.shape))
    if adapter.rank > min(smallest.shape):
        message = f"rank {adapter.rank} is larger than the layer {smallest.name} of shape "
        message += f"{list(smallest.shape)}"
        raise UsageError(message, fix=f"use a rank of {min(smallest.shape)} at the most")
    return targets


def _check_lora_target(target: Path | None, project: Path, fingerprint: str) -> None:
    """Asked before anything is trained: where the adapter is to be kept."""
    if target is None:
        return
    check_new_file(target, plan=fingerprint)
    if project.absolute() in target.absolute().parents:
        message = f"{target} lies in the project, which keeps no adapters"
        raise UsageError(message, fix="name a file outside of it")


def _plan_lora(
    project: Project | None,
    request: Request,
    source: Lora,
    context: ProjectContext,
    settings: Settings,
    strategy: "Strategy",
) -> Plan:
    """The plan of folding in a finished LoRA."""
    file, found = read_layers(source.file, context)
    material = LoraMaterial(
        layers={target: _scaled(factors, source.weight) for target, factors in found.items()},
        dialect=file.dialect,
        weight=source.weight,
        sha256=file_sha256(source.file),
        file_name=source.file.name,
        notes=file.notes,
    )
    records = project.concepts if project is not None else ()
    learned = find_learned_lora(records, request, material, settings)
    concept = _name_lora(request, source, file.triggers, () if learned else context.used_tokens)
    if learned is not None:
        concept = Concept(learned.token, learned.class_name)
    trigger = ", ".join(file.triggers[:1]) or f"a photo of {concept.trigger}"
    shaping = {"strategy": settings.strategy, "options": dict(settings.strategy_options), **material.record}
    return Plan(
        request=request,
        context=context,
        settings=settings,
        strategy=strategy,
        concept=concept,
        material=material,
        targets=tuple(material.layers),
        resolution=settings.data.resolution or context.family.resolution(context.header),
        sample_prompt=settings.sampling.sample_prompt or trigger,
        learned=learned,
        resume_step=0,
        fingerprint=_fingerprint(context, material.sha256, shaping),
    )


def _name_lora(
    request: Request, source: Lora, triggers: tuple[str, ...], used_tokens: tuple[str, ...]
) -> Concept:
    """What the LoRA will be called: as given, by its own account, or by its file's name."""
    words = (*(" ".join(triggers[:1]).split()), *source.file.stem.split(), "lora")
    token = request.token or words[0]
    if token.casefold() in {other.casefold() for other in used_tokens}:
        message = f"the token {token!r} belongs to an earlier concept already"
        raise UsageError(message, fix="give another one: --token NAME")
    return Concept(token, request.class_name or "LoRA")


def _scaled(factors: "Factors", weight: float) -> "Factors":
    """The same adapter at another strength."""
    from clora_ext.adapters.factors import Factors

    return Factors(factors.down, factors.up, factors.alpha * weight)


def _fingerprint(context: ProjectContext, material: str, shaping: Mapping[str, Any]) -> str:
    """sha256 over base, state, material and whatever else shapes the result."""
    content = {
        "base": context.base.sha256,
        "parent": context.parent_hash,
        "dataset": material,
        "settings": shaping,
    }
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
