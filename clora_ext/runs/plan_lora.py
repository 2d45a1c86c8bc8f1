"""The plan of folding in a finished LoRA."""

from collections.abc import Iterator
from pathlib import Path

from clora_ext.data import Concept
from clora_ext.errors import CheckpointError, UsageError
from clora_ext.formats.header import read_header
from clora_ext.formats.models import file_sha256
from clora_ext.formats.prediction import find_prediction

from .already_learned import find_learned_lora
from .context import ProjectContext
from .cut_texts import cut_texts
from .lora_files import read_changes
from .lora_material import LoraMaterial
from .plan import Plan
from .plan_basis import PlanBasis
from .request import Lora, Request

__all__ = ["plan_lora"]


def plan_lora(basis: PlanBasis, source: Lora) -> Plan:
    """Read the LoRA; see whether it has been learned already.

    Raises:
        CloraError: of the kind and with the remedy that fits what is wrong.
    """
    request, context, settings = basis.request, basis.context, basis.settings
    file, found = read_changes(source.file, context)
    material = LoraMaterial(
        changes={target: change.scaled(source.weight) for target, change in found.items()},
        kinds=file.kinds,
        parameters=file.parameters,
        dialect=file.dialect,
        weight=source.weight,
        sha256=file_sha256(source.file),
        file_name=source.file.name,
        notes=(*file.notes, *_prediction_notes(source.file, context)),
    )
    _check_strategy(basis, material)
    learned = find_learned_lora(basis.held, request, material, settings)
    concept = _name(request, source, file.triggers, () if learned else context.used_tokens)
    if learned is not None:
        concept = Concept(learned.token, learned.class_name, "as it was learned")
    trigger = ", ".join(file.triggers[:1]) or f"a photo of {concept.trigger}"
    shaping = {"strategy": settings.strategy, "options": dict(settings.strategy_options), **material.record}
    prompt = settings.sampling.sample_prompt or trigger
    return Plan(
        request=request,
        context=context,
        settings=settings,
        strategy=basis.strategy,
        concept=concept,
        material=material,
        targets=tuple(material.changes),
        resolution=basis.resolution,
        cuts=(),
        sample_prompt=prompt,
        cut_texts=cut_texts(context, settings.prompts, [("the prompt of the samples", prompt)]),
        learned=learned,
        resume_step=0,
        fingerprint=basis.fingerprint(material.sha256, shaping),
    )


def _name(request: Request, source: Lora, triggers: tuple[str, ...], used_tokens: tuple[str, ...]) -> Concept:
    """What the LoRA will be called: as given, by its own account, or by its file's name."""
    words = (*(" ".join(triggers[:1]).split()), *source.file.stem.split(), "lora")
    token = request.token or words[0]
    if token.casefold() in {other.casefold() for other in used_tokens}:
        message = f"the token {token!r} belongs to an earlier concept already"
        raise UsageError(message, fix="give another one: --token NAME")
    return Concept(token, request.class_name or "LoRA")


def _prediction_notes(file: Path, context: ProjectContext) -> Iterator[str]:
    """A LoRA that was trained on a model that predicts something else changes this one in the wrong way."""
    try:
        said = find_prediction(read_header(file), file)
    except CheckpointError as error:
        yield error.message
        return
    if said.source and said.kind != context.prediction.kind:
        yield (
            f"by its own account ({said.source}) it was trained on a model that predicts {said.kind}; "
            f"this one predicts {context.prediction.kind}"
        )


def _check_strategy(basis: PlanBasis, material: LoraMaterial) -> None:
    """Refuse a strategy that cannot fold what the file is made of.

    Raises:
        UsageError: it folds pairs of factors alone.
    """
    others = [str(kind) for kind in material.kinds if kind.kind != "LoRA"]
    if basis.strategy.low_rank_only and others:
        name = basis.settings.strategy
        message = (
            f"the strategy {name} folds pairs of low-rank factors alone, {material.file_name} holds "
            f"{', '.join(others)}"
        )
        raise UsageError(message, fix="choose another strategy, such as --strategy merge")
