"""What a run learns, as numbers: asked of the model before, of the trained adapter, and of the checkpoint."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from clora_ext.data import load_image
from clora_ext.events import Sink, Stage
from clora_ext.project import Project
from clora_ext.project.concept_files import read_outcome_of
from clora_ext.project.outcome import Estimate, HeldOutLoss, Kept, Likeness, Outcome, Question
from clora_ext.sampling.prompts import reworded

from .encode import encode_latents
from .plan import LoraMaterial, Plan

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from clora_ext.config.precision import Precision
    from clora_ext.families.base import Model
    from clora_ext.strategies.objective import Example

__all__ = ["Baseline", "measure_after", "measure_before", "measure_trained"]

_DEMO = "demo"
_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Baseline:
    """The model before the concept, measured.

    Attributes:
        examples: what each draw of held-out noise shows, without its condition; empty: there are no pictures.
        losses: of each draw.
        questions: what the scorer has drawn; empty: there is no scorer for this model.
        likeness: of what it drew.
    """

    examples: "tuple[Example, ...]" = ()
    losses: tuple[float, ...] = ()
    questions: tuple[Question, ...] = ()
    likeness: Estimate | None = None


def measure_before(model: "Model", plan: Plan, precision: "Precision", sink: Sink) -> Baseline:
    """Measure the model that the run starts from; nothing of a LoRA, which has no pictures."""
    if isinstance(plan.material, LoraMaterial):
        return Baseline()
    sink(Stage("measure", "before"))
    from clora_ext.config.memory import reporting_out_of_memory
    from clora_ext.training.held_out import spread

    shown = spread(len(plan.material.pictures))
    with reporting_out_of_memory("encoding the pictures"):  # whoever calls knows what helps
        encoded = {number: encode_latents(model, plan, number) for number in dict.fromkeys(shown)}
    examples = tuple(encoded[number] for number in shown)
    found = Baseline(examples, _losses(model, examples, plan, precision))
    if plan.context.base.kind != _DEMO:
        return found
    from clora_ext.sampling.likeness import likeness, questions
    from clora_ext.scoring.demo import load_demo_scorer

    scorer = load_demo_scorer()
    asked = questions(scorer, _by_prompt(plan))
    return replace(found, questions=asked, likeness=likeness(scorer, model, asked))


def measure_trained(
    model: "Model", plan: Plan, encoded: "Sequence[Example]", before: Baseline, precision: "Precision"
) -> tuple[float, ...]:
    """The losses of the same draws by the trained adapter; ``encoded``: every picture of the plan."""
    from clora_ext.training.held_out import spread

    shown = [
        replace(example, condition=encoded[number].condition)
        for number, example in zip(spread(len(encoded)), before.examples, strict=True)
    ]
    return _losses(model, shown, plan, precision)


def measure_after(
    model: "Model",
    plan: Plan,
    project: Project,
    before: Baseline,
    trained: Sequence[float],
    precision: "Precision",
) -> Outcome:
    """Everything that was measured, with the finished checkpoint as the last to be asked."""
    held_out = None
    if before.losses:
        after = _losses(model, before.examples, plan, precision)
        held_out = HeldOutLoss.of(before.losses, trained, after)
    if plan.context.base.kind != _DEMO:
        return Outcome(held_out, None, ())
    return Outcome(held_out, _likeness(model, before), tuple(_kept(model, project)))


def _losses(
    model: "Model", examples: "Sequence[Example]", plan: Plan, precision: "Precision"
) -> tuple[float, ...]:
    from clora_ext.training.held_out import held_out_losses

    # Without gradients a picture takes a fraction of what a training step has just had room for, unless that
    # kept few activations itself.
    settings = plan.settings
    times = 1 if settings.compute.gradient_checkpointing else _AT_ONCE
    return held_out_losses(model, examples, times * settings.data.batch_size, precision)


def _likeness(model: "Model", before: Baseline) -> Likeness | None:
    """The new concept's."""
    from clora_ext.sampling.likeness import ceiling, likeness
    from clora_ext.scoring.demo import load_demo_scorer

    if before.likeness is None:
        return None
    after = likeness(load_demo_scorer(), model, before.questions)
    return Likeness(before.likeness, after, ceiling(before.questions), before.questions)


def _kept(model: "Model", project: Project) -> Iterator[Kept]:
    """What is left of every earlier concept that was scored when it was learned."""
    from clora_ext.sampling.likeness import likeness
    from clora_ext.scoring.demo import load_demo_scorer

    scorer = load_demo_scorer()
    for record in project.concepts:
        outcome = read_outcome_of(project.folder, record)
        then = None if outcome is None else outcome.likeness
        if then is not None and then.questions:
            now = likeness(scorer, model, then.questions)
            yield Kept(record.number, then.kept(now.mean))


def _by_prompt(plan: Plan) -> "dict[str, list[Picture]]":
    """The pictures as the scorer sees them, by their captions in other words."""
    from clora_ext.sampling.likeness import SIDE

    found: dict[str, list[Picture]] = {}
    for picture in plan.dataset.pictures:
        small = load_image(picture, SIDE, SIDE, convert=plan.converts)
        found.setdefault(reworded(picture.caption), []).append(small)
    return found
