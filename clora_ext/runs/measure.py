"""What a run learns, as numbers: asked of the model before, of the trained adapter, and of the checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from clora_ext.data import covering, load_image
from clora_ext.events import Sink, Stage
from clora_ext.project.outcome import Estimate, HeldOutLoss, Likeness, Question
from clora_ext.prompts.untrained import reworded

from .encode import encode_latents
from .plan import LoraMaterial, Plan
from .scoring import scorer_name

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from clora_ext.config.precision import Precision
    from clora_ext.families.base import Model
    from clora_ext.scoring import Scorer
    from clora_ext.strategies.objective import Example

__all__ = ["Baseline", "likeness_of", "measure_after", "measure_before", "measure_trained"]

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

    shown = spread(len(plan.material.taught))
    with reporting_out_of_memory("encoding the pictures"):  # whoever calls knows what helps
        encoded = {number: encode_latents(model, plan, number) for number in dict.fromkeys(shown)}
    examples = tuple(encoded[number] for number in shown)
    found = Baseline(examples, _losses(model, examples, plan, precision))
    if scorer_name(plan.context, plan.request) != _DEMO:
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
        for number, example in zip(spread(len(plan.dataset.taught)), before.examples, strict=True)
    ]
    return _losses(model, shown, plan, precision)


def measure_after(
    model: "Model", plan: Plan, before: Baseline, trained: Sequence[float], precision: "Precision"
) -> HeldOutLoss | None:
    """The losses of the same draws by the finished checkpoint, beside those before; None: no pictures."""
    if not before.losses:
        return None
    return HeldOutLoss.of(before.losses, trained, _losses(model, before.examples, plan, precision))


def likeness_of(
    model: "Model",
    plan: Plan,
    before: Baseline,
    samples: "tuple[Sequence[Picture], Sequence[Picture]]",
    scorer: "Scorer",
) -> Likeness | None:
    """How like the pictures the new concept is drawn; None: there are none.

    Args:
        model: the finished checkpoint.
        plan: that it was made by.
        before: the model before.
        samples: of the contact sheet, before and after.
        scorer: that judges.
    """
    from clora_ext.sampling.likeness import ceiling, likeness, likeness_of_samples

    if isinstance(plan.material, LoraMaterial):
        return None
    if before.likeness is not None and scorer.name == _DEMO:
        after = likeness(scorer, model, before.questions)
        return Likeness(before.likeness, after, ceiling(before.questions), before.questions)
    return likeness_of_samples(scorer, _pictures(plan), samples)


def _losses(
    model: "Model", examples: "Sequence[Example]", plan: Plan, precision: "Precision"
) -> tuple[float, ...]:
    from clora_ext.training.held_out import held_out_losses

    # Without gradients a picture takes a fraction of what a training step has just had room for, unless that
    # kept few activations itself.
    settings = plan.settings
    times = 1 if settings.compute.gradient_checkpointing else _AT_ONCE
    return held_out_losses(model, examples, times * settings.data.batch_size, precision)


def _pictures(plan: Plan) -> "list[Picture]":
    """Those that held-out noise shows, as they are trained."""
    from clora_ext.training.held_out import spread

    pictures = plan.dataset.taught
    return [
        load_image(pictures[number], plan.cuts[number], convert=plan.converts)
        for number in dict.fromkeys(spread(len(pictures)))
    ]


def _by_prompt(plan: Plan) -> "dict[str, list[Picture]]":
    """The pictures as the scorer sees them, by their captions in other words."""
    from clora_ext.sampling.likeness import SIDE

    found: dict[str, list[Picture]] = {}
    for picture in plan.dataset.taught:
        small = load_image(
            picture, covering(picture.width, picture.height, SIDE, SIDE), convert=plan.converts
        )
        found.setdefault(reworded(picture.caption), []).append(small)
    return found
