"""From a trained concept to a new state of the project: fold, verify, sample, write the contact sheet."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from clora_ext.config.settings import Settings
from clora_ext.data import Dataset
from clora_ext.errors import CheckpointError, writing
from clora_ext.events import Sampled, Sink, Stage
from clora_ext.formats.history import HISTORY_KEY, encode_history
from clora_ext.formats.pages import free_models
from clora_ext.project import ConceptRecord, Image, State
from clora_ext.project.outcome import Outcome
from clora_ext.project.weights import held
from clora_ext.version import VERSION

from .kept import drift_of, kept_of
from .lora_material import LoraMaterial
from .measure import likeness_of, measure_after
from .memory_remedies import sampling_remedies
from .plan import Plan
from .precision import precision_of
from .prepared import PreparedRun
from .scoring import scorer_name

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from clora_ext.config.precision import Precision
    from clora_ext.evolving.trained_concept import TrainedConcept
    from clora_ext.families.model import Model
    from clora_ext.formats.hashed_reading import HashedReading

    from .baseline import Baseline
    from .train_pictures import Trained

__all__ = ["Verified", "fold_concept", "loss_ends", "make_record", "verify", "write_contact_sheet"]


def fold_concept(run: PreparedRun, concept: "TrainedConcept", sink: Sink) -> State:
    """Write memory and checkpoint of the new state; nothing refers to them yet."""
    from clora_ext.evolving.fold import fold

    plan, project = run.plan, run.project
    sink(Stage("fold", concept.name))
    evolving = plan.context.evolving()
    memory = project.memory_dir / "new.safetensors"
    checkpoint = project.checkpoints_dir / "new.safetensors"
    history = [(one.token, one.class_name, one.strategy) for one in held(project.concepts, plan.reweighting)]
    if plan.reweighting is None:
        history.append((plan.concept.token, plan.concept.class_name, concept.name))
    entries = [dict(zip(("token", "class", "strategy"), words, strict=True)) for words in history]
    metadata = {**evolving.current.header.metadata, **plan.context.stamp}
    metadata[HISTORY_KEY] = encode_history(entries, {})
    digest = fold(evolving, concept, checkpoint, memory, metadata, sink)
    return project.adopt(plan.number, digest, checkpoint=checkpoint, memory=memory)


@dataclass(frozen=True, slots=True)
class Verified:
    """What the finished checkpoint has shown.

    Attributes:
        samples: of the concept's prompt; none: there is no contact sheet.
        outcome: what was learned, as numbers.
    """

    samples: "list[Picture]"
    outcome: Outcome


def verify(run: PreparedRun, state: State, learned: "Trained", overlap: float | None, sink: Sink) -> Verified:
    """Open the new checkpoint as any program would, compare its content, sample with it and measure it.

    Args:
        run: what it was made by.
        state: the new state.
        learned: what was folded.
        overlap: of the change with all earlier ones, before it was folded.
        sink: told what happens.

    Raises:
        CheckpointError: it does not hold what was written.
        OutOfMemory: it cannot be drawn with.
    """
    from clora_ext.config.memory import reporting_out_of_memory

    sink(Stage("verify", state.content_hash[:12]))
    free_models()
    precision = precision_of(run.plan)
    model = _opened(run, state, precision)
    with reporting_out_of_memory("drawing after the training", sampling_remedies(run.plan)):
        samples = _samples(run, model, sink)
        sink(Stage("measure", "after"))
        held_out = measure_after(model, run.plan, learned.baseline, learned.held_out, precision)
        scored = _scored(run, state, model, (learned.baseline, samples), sink)
    return Verified(samples, replace(scored, held_out=held_out, interference=overlap))


def _samples(run: PreparedRun, model: "Model", sink: Sink) -> "list[Picture]":
    """By the finished checkpoint, for the contact sheet; none: there is none."""
    if not run.plan.settings.sampling.has_sheet:
        return []
    sink(Stage("sample", "after"))
    return run.prompt.sample(model, sink)


def _opened(run: PreparedRun, state: State, precision: "Precision") -> "Model":
    """The model in the new checkpoint, whose content is compared while it is loaded.

    Raises:
        CheckpointError: it does not hold what was written.
        OutOfMemory: it does not fit.
    """
    from clora_ext.formats.hashed_reading import hashed_reading

    written = run.plan.context.open_state(run.project.checkpoints_dir / state.checkpoint)
    with hashed_reading(written) as checkpoint:
        try:
            model = run.plan.context.family.load(checkpoint, precision)
        except CheckpointError:  # what is damaged need not be a model
            _compare(checkpoint, state)
            raise
        _compare(checkpoint, state)
    return model.reading(run.plan.settings.prompts)


def _compare(checkpoint: "HashedReading", state: State) -> None:
    if checkpoint.content_hash() != state.content_hash:
        message = f"{checkpoint.path} does not hold what was written"
        raise CheckpointError(message, fix="check the disk, then run the same command again")


def _scored(
    run: PreparedRun,
    state: State,
    model: "Model",
    ends: "tuple[Baseline, list[Picture]]",
    sink: Sink,
) -> Outcome:
    """What pictures by the finished checkpoint say; the scorer is loaded once, and not while it trains.

    Args:
        run: what it was made by.
        state: the new state.
        model: the finished checkpoint.
        ends: the model before, and samples by the finished one.
        sink: told what happens.
    """
    from clora_ext.scoring import open_scorer

    plan, project = run.plan, run.project
    name = scorer_name(plan.context, plan.request)
    scorer = None if name is None else open_scorer(name)
    likeness = None
    if scorer is not None:
        before, samples = ends
        likeness = likeness_of(model, plan, before, (before.samples, samples), scorer)
    kept = tuple(kept_of(model, plan, project, state, scorer, sink))
    return Outcome(None, likeness, kept, drift_of(model, plan, project, scorer, sink))


def write_contact_sheet(
    run: PreparedRun, learned: "Trained", after: "Sequence[Picture]", target: Path, sink: Sink
) -> None:
    """The contact sheet: samples from before and from after.

    The pictures that were taught are not on it: a project keeps none.
    """
    from clora_ext.sampling.contact_sheet import Row, SheetMetadata, write_sheet

    prompt = run.plan.sample_prompt
    rows = [
        Row(f"before: {prompt}", learned.baseline.samples),
        Row(f"after: {_how(run.plan, len(learned.losses))}; {run.prompt.words}", after),
    ]
    with writing(target):
        size = max(image.width for image in after)
        write_sheet(rows, size, SheetMetadata(prompt, tuple(learned.losses)), target)
    sink(Sampled(target))


def _how(plan: Plan, steps: int) -> str:
    """What was done to the model, for a label; with so many steps, if it was trained."""
    strategy, material = plan.settings.strategy, plan.material
    if plan.reweighting is not None:
        return f"weight {plan.reweighting.weight:g}" if plan.reweighting.weight else "removed"
    if isinstance(material, LoraMaterial):
        return f"{strategy}, weight {material.weight:g}"
    return f"{strategy}, {steps} steps, seed {plan.settings.seed}"


def make_record(
    run: PreparedRun, state: State, sheet: str | None, losses: Sequence[float], delta: str | None
) -> ConceptRecord:
    """The concept's entry in the manifest.

    Args:
        run: what it was made by.
        state: that it has made.
        sheet: file name of the contact sheet; None: there is none.
        losses: of every step; none: nothing was trained.
        delta: file name of the kept change; None: it is not kept.
    """
    plan, earlier = run.plan, run.project.concepts
    material, settings = plan.material, plan.settings
    is_lora = isinstance(material, LoraMaterial)
    first, last = loss_ends(losses)
    return ConceptRecord(
        number=plan.number,
        token=plan.concept.token,
        class_name=plan.concept.class_name,
        images=_images(material),
        dataset_fingerprint=material.sha256 if isinstance(material, LoraMaterial) else material.fingerprint,
        strategy=settings.strategy,
        strategy_options=dict(settings.strategy_options),
        # Whoever weighs a concept anew leaves the memory as it is, and whose it is.
        state_level=plan.strategy.state_level if plan.reweighting is None else earlier[-1].state_level,
        settings=_lora_settings(material, settings)
        if isinstance(material, LoraMaterial)
        else {**settings.as_dict(), **plan.beside},
        seed=0 if is_lora else settings.seed,
        parent_hash=plan.context.parent_hash,
        content_hash=state.content_hash,
        first_loss=first,
        last_loss=last,
        sheet=sheet,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        clora_version=VERSION,
        delta=delta,
        reweighting=plan.reweighting,
    )


def _lora_settings(material: LoraMaterial, settings: Settings) -> dict[str, Any]:
    """What the manifest keeps of how a LoRA was folded in, and of how its samples' texts were read."""
    return {**material.record, "prompts": asdict(settings.prompts)}


def _images(material: Dataset | LoraMaterial) -> tuple[Image, ...]:
    """The pictures in words; none of a LoRA."""
    if isinstance(material, LoraMaterial):
        return ()
    return tuple(Image(p.path.name, p.sha256, p.caption) for p in material.pictures)


def loss_ends(losses: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean of the first and of the last tenth; None where nothing was trained."""
    if not losses:
        return None, None
    tenth = max(1, len(losses) // 10)
    return fmean(losses[:tenth]), fmean(losses[-tenth:])
