"""Pictures become a trained concept: starts, model, examples, training."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from clora_ext.events import Note, Sink, Stage
from clora_ext.sampling.samples import SamplePrompt

from .baseline import Baseline, take_baseline
from .begin_training import begin_training
from .curve import LossCurve
from .lora_snapshots import lora_snapshots, write_adapter
from .measure import adapter_draws, losses_of
from .measured_inputs import measured_inputs
from .memory_remedies import training_remedies
from .plan import Plan
from .prepared import PreparedRun
from .previews import preview_prompts, previews
from .scalar_log import scalar_log

if TYPE_CHECKING:
    from clora_ext.adapters.decomposed import TrainedDecomposition
    from clora_ext.adapters.delta import Delta
    from clora_ext.adapters.factors import Factors
    from clora_ext.evolving.trained_concept import TrainedConcept
    from clora_ext.training.team import Team
    from clora_ext.training.training import Training

__all__ = ["Trained", "train_pictures"]

_DRAWN_OTHERWISE = (
    "ComfyUI and Forge draw the DoRA in the LoRA file otherwise: they divide its magnitudes by the norms "
    "before it; the checkpoint is exact (docs/lora_files.md)"
)


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training gives.

    Attributes:
        concept: ready to be folded.
        losses: of every step.
        held_out: losses of the adapter by held-out noise; see :func:`clora_ext.runs.measure.adapter_draws`.
        baseline: the model before.
    """

    concept: "TrainedConcept"
    losses: tuple[float, ...]
    held_out: tuple[float, ...]
    baseline: Baseline


def train_pictures(run: PreparedRun, sink: Sink, team: "Team | None" = None) -> Trained:
    """Train the plan's adapter.

    Args:
        run: of pictures; where it is stopped, its project keeps the training state.
        sink: told what happens; may raise Cancelled to stop.
        team: the processes that train it together, of which this is the first; None: this one alone.
    """
    from clora_ext.config.memory import reporting_out_of_memory
    from clora_ext.evolving.trained_concept import TrainedConcept
    from clora_ext.training.gradients import squared_gradients

    plan, asked = run.plan, preview_prompts(run)
    begun = begin_training(run, asked, team, sink)
    training, model, drawing, precision = begun.training, begun.model, begun.drawing, begun.precision
    sampler = partial(SamplePrompt.sample_one, model=drawing)
    with reporting_out_of_memory("training", training_remedies(plan)):
        sink(Stage("train", f"{plan.settings.schedule.steps} steps"))
        preview = previews(run, asked, sampler, sink)
        with training.led():
            if not plan.resume_step:
                preview(0)
        losses = _with_curve(run, training, sink, (preview, lora_snapshots(plan, training, sink)))
    with training.led():
        with reporting_out_of_memory("training", training_remedies(plan)):
            drawing.fetch_vae()
            sink(Stage("measure", "the adapter"))
            held_out = losses_of(model, adapter_draws(plan, begun.examples), plan, precision)
            inputs = measured_inputs(
                model,
                plan.layers,
                run.needs.inputs_after,
                lambda text: sampler(run.prompt.of(text)),
                sink,
                rounded=plan.strategy.keeps_inputs,
            )
            gradients = squared_gradients(training, plan.targets, run.needs.gradients_after)
        with training.as_begun(begun.started):
            baseline = take_baseline(run, drawing, begun.examples, precision, sink)
    if training.joint is not None:
        training.part()
    learned = _learned(run, training, sink)
    concept = TrainedConcept(
        strategy=plan.strategy,
        name=plan.settings.strategy,
        targets={target.name: target for target in (*plan.targets, *begun.rows)},
        trained=learned,
        inputs=inputs,
        past_inputs=run.before.past_inputs,
        gradients=gradients,
        started=begun.started,
        prompts=run.kept_prompts,
    )
    return Trained(concept, losses, held_out, baseline)


def _learned(run: PreparedRun, training: "Training", sink: Sink) -> "dict[str, Delta]":
    """What adapters and rows have learned, by :attr:`Target.name`; a LoRA file of it where that is asked."""
    trained = dict(training.adapters.learned())
    rows = {} if training.token_rows is None else dict(training.token_rows.deltas())
    output = run.plan.lora_output
    if output is not None:
        write_adapter(run.plan, output, output.path, trained, rows, sink)
        if run.plan.magnitudes:
            sink(Note(_DRAWN_OTHERWISE))
    return {**dict(_over_weights(run.plan, trained)), **rows}


def _over_weights(
    plan: Plan, trained: "Mapping[str, Factors | TrainedDecomposition]"
) -> "Iterator[tuple[str, Delta]]":
    """The changes themselves; where magnitudes were trained, of the exact weights."""
    from clora_ext.adapters.factors import Factors

    evolving, targets = plan.context.evolving(), {target.name: target for target in plan.targets}
    for name, one in trained.items():
        yield (
            name,
            one if isinstance(one, Factors) else one.over(partial(evolving.matrix_rows, targets[name])),
        )


def _with_curve(
    run: PreparedRun, training: "Training", sink: Sink, after_step: Sequence[Callable[[int], None]]
) -> tuple[float, ...]:
    """Train, and leave the loss curve in the project, whatever ends the training."""
    from clora_ext.training.learning_rate import learning_rates
    from clora_ext.training.loop import train

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
    curve.finish(losses, learning_rates(training.settings))
    return losses
