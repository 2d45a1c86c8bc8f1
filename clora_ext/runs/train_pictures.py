"""Pictures become a trained concept: starts, model, examples, training."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clora_ext.adapters.sites import Target
from clora_ext.events import Note, Sink, Stage
from clora_ext.formats.pages import release_on_free
from clora_ext.formats.training_state import STATE_FILE

from .curve import LossCurve
from .encode import Encoded, encode_pictures
from .lora_snapshots import lora_snapshots, write_adapter
from .measure import measure_trained
from .measured_inputs import measured_inputs
from .memory_remedies import training_remedies
from .observe import Observed
from .plan import Plan
from .prepared import PreparedRun
from .previews import PreviewPrompt, preview_prompts, previews
from .replay import EncodedReplay, encode_replay
from .scalar_log import scalar_log
from .step_captions import varies
from .step_examples import pixels_change, step_examples
from .token_rows import own_rows

if TYPE_CHECKING:
    from PIL.Image import Image

    from clora_ext.config.precision import Precision
    from clora_ext.evolving.model import Evolving
    from clora_ext.evolving.trained_concept import TrainedConcept
    from clora_ext.families.base import Model
    from clora_ext.strategies.base import Start
    from clora_ext.training.adapters import AdapterStart
    from clora_ext.training.loop import Training
    from clora_ext.training.validation import Validation

__all__ = ["Trained", "train_pictures"]


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training gives.

    Attributes:
        concept: ready to be folded.
        losses: of every step.
        held_out: the held-out losses of the adapter; see :func:`clora_ext.runs.measure.measure_trained`.
    """

    concept: "TrainedConcept"
    losses: tuple[float, ...]
    held_out: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Beginning:
    """What a training begins with, made while the model was still the one before it.

    Attributes:
        starts: of the adapters, by layer.
        rows: of the tables of tokens that learn too, with their tokens.
        encoded: the pictures.
        replay: what the model before is asked again; None: nothing.
    """

    starts: "Mapping[Target, AdapterStart]"
    rows: Mapping[Target, int]
    encoded: Encoded
    replay: EncodedReplay | None


def train_pictures(run: PreparedRun, sink: Sink) -> Trained:
    """Train the plan's adapter.

    Args:
        run: of pictures; where it is stopped, its project keeps the training state.
        sink: told what happens; may raise Cancelled to stop.
    """
    from clora_ext.config.memory import reporting_out_of_memory
    from clora_ext.config.precision import pick_precision
    from clora_ext.evolving.trained_concept import TrainedConcept
    from clora_ext.training.gradients import squared_gradients

    plan, precision = run.plan, pick_precision()
    sink(Note(f"computing on: {precision.reason}"))
    model, starts = _load(plan, run.before, precision)
    started = {target.name: one.factors for target, one in starts.items() if one.factors.up.any()}
    rows = own_rows(run, model)
    replay = encode_replay(run, model)
    reworded = replay is not None and replay.replay.own > 0
    learns = bool(rows) or plan.settings.adapter.text_encoder
    # A cut at another place is another condition: SDXL is told where.
    text_changes = learns or reworded or varies(plan) or pixels_change(plan)
    encoded = encode_pictures(model, plan, sink, text_changes=text_changes)
    asked = preview_prompts(run)
    sampler = _keep_what_samples_need(run, asked, model, text_changes=text_changes)
    with reporting_out_of_memory("training", training_remedies(plan)):
        training = _training(run, model, _Beginning(starts, rows, encoded, replay), precision)
        del starts  # the adapters have values of their own, where the model lies
        sink(Stage("train", f"{plan.settings.schedule.steps} steps"))
        after_step = (previews(run, asked, sampler, sink), lora_snapshots(plan, training, sink))
        losses = _with_curve(run, training, sink, after_step)
        sink(Stage("measure", "the adapter"))
        held_out = measure_trained(model, plan, encoded.examples, run.before.baseline, precision)
        inputs = measured_inputs(
            model, plan.layers, run.needs.inputs_after, sampler, sink, rounded=plan.strategy.keeps_inputs
        )
        gradients = squared_gradients(training, plan.targets, run.needs.gradients_after)
    trained = dict(training.adapters.factors())
    learned_rows = {} if training.token_rows is None else dict(training.token_rows.deltas())
    concept = TrainedConcept(
        strategy=plan.strategy,
        name=plan.settings.strategy,
        targets={target.name: target for target in (*plan.targets, *rows)},
        trained={**trained, **learned_rows},
        inputs=inputs,
        past_inputs=run.before.past_inputs,
        gradients=gradients,
        started=started,
        prompts=run.kept_prompts,
    )
    if plan.lora_output is not None:
        write_adapter(plan, plan.lora_output, plan.lora_output.path, trained, learned_rows, sink)
    return Trained(concept, losses, held_out)


def _with_curve(
    run: PreparedRun, training: "Training", sink: Sink, after_step: Sequence[Callable[[int], None]]
) -> tuple[float, ...]:
    """Train, and leave the loss curve in the project, whatever ends the training."""
    from clora_ext.training.loop import learning_rate, train

    def after_each(step: int) -> None:
        for do in after_step:
            do(step)

    curve = LossCurve(run)
    try:
        with scalar_log(run.plan, sink) as logged:
            losses = train(training, curve.watched(logged), after_each)
    except BaseException:
        curve.stop()
        raise
    curve.finish(losses, lambda step: learning_rate(training.settings, step))
    return losses


def _keep_what_samples_need(
    run: PreparedRun, asked: Sequence[PreviewPrompt], model: "Model", *, text_changes: bool
) -> "Callable[[str], Image]":
    """Free the encoders that have nothing left to do; gives what samples previews and measured prompts.

    SDXL's take 3.6 GB in float32, and what they tell of the pictures is known by now.
    """
    texts = dict.fromkeys([*(one.text for one in asked), *run.needs.inputs_after])
    if text_changes:  # the encoders are asked again in every step
        sampler = run.prompt.sampler(model)
    else:
        sampler = run.prompt.encoded_sampler(model, texts)
        model.drop_text_encoders()
    if not texts and not pixels_change(run.plan):
        model.drop_vae()
    return sampler


def _training(
    run: PreparedRun,
    model: "Model",
    beginning: "_Beginning",
    precision: "Precision",
) -> "Training":
    """The training of the plan, with its adapters inside the model."""
    from clora_ext.strategies.objective import TrainingAccess
    from clora_ext.training.adapters import Adapters
    from clora_ext.training.loop import Training
    from clora_ext.training.objective import DenoisingObjective
    from clora_ext.training.token_rows import TokenRows

    plan = run.plan
    adapters = Adapters(model, beginning.starts, plan.settings.adapter, precision.device)
    rows = TokenRows(model, beginning.rows, precision.device) if beginning.rows else None
    asked = beginning.replay
    replay = None if asked is None else asked.during(run, model, adapters.disabled, precision.device)
    own = None if asked is None else asked.own(run, model, adapters.disabled)
    access = TrainingAccess(model, adapters.disabled, replay, own)
    encoded = beginning.encoded
    return Training(
        model=model,
        adapters=adapters,
        token_rows=rows,
        row_rate=plan.strategy.row_rate(),
        objective=plan.strategy.objective(DenoisingObjective(), access),
        examples=encoded.examples,
        batch_at=step_examples(encoded, plan, model),
        settings=plan.settings,
        precision=precision,
        state_file=run.project.training_dir / STATE_FILE,
        fingerprint=plan.fingerprint,
        concept=plan.concept.trigger,
        validation=_validation(plan, encoded),
    )


def _validation(plan: Plan, encoded: Encoded) -> "Validation | None":
    """What is asked while it trains; None: nothing is held out."""
    from clora_ext.training.held_out import spread
    from clora_ext.training.validation import Validation

    if not encoded.held_out:
        return None
    settings = plan.settings
    shown = [encoded.held_out[number] for number in spread(len(encoded.held_out))]
    every, keep_best = settings.sampling.validate_every, settings.validation.keep_best
    return Validation(shown, every, settings.data.batch_size, keep_best)


def _load(plan: Plan, before: Observed, precision: "Precision") -> "tuple[Model, dict[Target, AdapterStart]]":
    """The model with every layer's frozen weight, and where its adapters start.

    The frozen weights end here, since the model has its own copy: of SDXL's attention they are 4 GB.
    """
    from clora_ext.training.adapters import AdapterStart

    evolving = plan.context.evolving()
    with release_on_free():
        begun = dict(_begin(plan, evolving, before))
    frozen = {target.name: start.frozen for target, start in begun.items()}
    model = plan.context.family.load(evolving.current, precision, frozen).reading(plan.settings.prompts)
    return model, {target: AdapterStart(one.factors, one.constraint) for target, one in begun.items()}


def _begin(plan: Plan, evolving: "Evolving", before: Observed) -> "Iterator[tuple[Target, Start]]":
    """Every layer's start; each layer has a random generator of its own, so their order is free."""
    import torch

    settings = plan.settings
    for index, target in enumerate(plan.targets):
        rng = torch.Generator().manual_seed((settings.seed * 1_000_003 + index) % 2**63)
        layer = before.with_inputs(evolving.layer(target, settings.strategy), target)
        adapter = settings.adapter
        yield target, plan.strategy.begin(layer, adapter.rank, adapter.effective_alpha, rng)
