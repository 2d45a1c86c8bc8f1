"""Pictures become a trained concept: starts, model, examples, training."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clora_ext.adapters.sites import Target
from clora_ext.errors import writing
from clora_ext.events import Note, Preview, Sink, Stage
from clora_ext.formats.pages import release_on_free
from clora_ext.project import Project
from clora_ext.sampling.samples import SamplePrompt

from .encode import encode_pictures
from .lora_files import write_layers
from .make_plan import STATE_FILE
from .observe import Observed
from .plan import Plan
from .request import Pictures

if TYPE_CHECKING:
    from clora_ext.adapters.factors import Factors
    from clora_ext.config.precision import Precision
    from clora_ext.evolving.model import Evolving
    from clora_ext.evolving.trained_concept import TrainedConcept
    from clora_ext.families.base import Model
    from clora_ext.strategies.base import ConceptPrompts, Needs, Start
    from clora_ext.training.adapters import AdapterStart

__all__ = ["train_pictures"]


def train_pictures(
    plan: Plan,
    project: Project,
    prompt: SamplePrompt,
    needs: "Needs",
    before: Observed,
    kept: "Sequence[ConceptPrompts]",
    sink: Sink,
) -> "tuple[TrainedConcept, tuple[float, ...]]":
    """The trained concept and every step's loss.

    Args:
        plan: what to do.
        project: open for writing; a stopped run leaves its state there.
        prompt: of previews.
        needs: what the strategy asks for.
        before: what was taken from the model before.
        kept: what the strategy keeps of all concepts in words.
        sink: told what happens; may raise Cancelled to stop.
    """
    from clora_ext.config.precision import pick_precision
    from clora_ext.evolving.trained_concept import TrainedConcept
    from clora_ext.strategies.objective import TrainingAccess
    from clora_ext.training.adapters import Adapters
    from clora_ext.training.loop import Training, train
    from clora_ext.training.objective import DenoisingObjective
    from clora_ext.training.statistics import input_moments

    precision, settings = pick_precision(), plan.settings
    sink(Note(f"computing on: {precision.reason}"))
    model, starts = _load(plan, before, precision)
    encoded = encode_pictures(model, plan, sink)
    if not (settings.adapter.text_encoder or settings.sampling.preview_every or needs.inputs_after):
        model.drop_encoders()  # SDXL's take 3.6 GB in float32, and what they tell is known by now
    adapters = Adapters(model, starts, settings.adapter, precision.device)
    access = TrainingAccess(model, before.replay, adapters.disabled)
    training = Training(
        model=model,
        adapters=adapters,
        objective=plan.strategy.objective(DenoisingObjective(), access),
        examples=encoded.examples,
        batch_at=encoded.schedule.batch_at,
        settings=settings,
        precision=precision,
        state_file=project.training_dir / STATE_FILE,
        fingerprint=plan.fingerprint,
    )
    sink(Stage("train", f"{settings.schedule.steps} steps"))
    losses = train(training, sink, _preview(plan, prompt, model, project.training_dir, sink))
    trained = dict(adapters.factors())
    concept = TrainedConcept(
        strategy=plan.strategy,
        name=settings.strategy,
        targets={target.name: target for target in plan.targets},
        trained=trained,
        inputs=input_moments(model, plan.targets, needs.inputs_after, prompt.sampler(model)),
        prompts=kept,
    )
    _export_lora(plan, trained, sink)
    return concept, losses


def _load(plan: Plan, before: Observed, precision: "Precision") -> "tuple[Model, dict[Target, AdapterStart]]":
    """The model with every layer's frozen weight, and where its adapters start.

    The frozen weights end here, since the model has its own copy: of SDXL's attention they are 4 GB.
    """
    from clora_ext.training.adapters import AdapterStart

    evolving = plan.context.evolving()
    with release_on_free():
        begun = dict(_begin(plan, evolving, before))
    frozen = {target.name: start.frozen for target, start in begun.items()}
    model = plan.context.family.load(evolving.current, precision, frozen)
    return model, {target: AdapterStart(one.factors, one.constraint) for target, one in begun.items()}


def _begin(plan: Plan, evolving: "Evolving", before: Observed) -> "Iterator[tuple[Target, Start]]":
    """Every layer's start; each layer has a random generator of its own, so their order is free."""
    import torch

    settings = plan.settings
    for index, target in enumerate(plan.targets):
        rng = torch.Generator().manual_seed((settings.seed * 1_000_003 + index) % 2**63)
        layer = replace(evolving.layer(target, settings.strategy), inputs=before.inputs.get(target.name))
        adapter = settings.adapter
        yield target, plan.strategy.begin(layer, adapter.rank, adapter.effective_alpha, rng)


def _preview(
    plan: Plan, prompt: SamplePrompt, model: "Model", folder: Path, sink: Sink
) -> Callable[[int], None]:
    """Called after every step: now and then, a picture in ``folder``."""
    every = plan.settings.sampling.preview_every

    def preview(step: int) -> None:
        if not every or step % every:
            return
        target = folder / f"preview-{step}.png"
        with writing(target):
            folder.mkdir(parents=True, exist_ok=True)
            prompt.sample_one(model).save(target)
        sink(Preview(step, target))

    return preview


def _export_lora(plan: Plan, trained: "Mapping[str, Factors]", sink: Sink) -> None:
    """The trained adapter as a file of its own, where the user has asked for it."""
    source = plan.request.source
    if isinstance(source, Pictures) and source.export_lora is not None:
        layers = {target: trained[target.name] for target in plan.targets}
        write_layers(source.export_lora, layers, plan.context, (plan.concept,), sink, plan=plan.fingerprint)
