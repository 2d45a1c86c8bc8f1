"""What a run learns, as numbers: asked of the model before, of the trained adapter, and of the checkpoint."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clora_ext.data import load_image
from clora_ext.project.outcome import HeldOutLoss, Likeness

from .lora_material import LoraMaterial
from .plan import Plan

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from clora_ext.config.precision import Precision
    from clora_ext.families.model import Model
    from clora_ext.scoring import Scorer
    from clora_ext.strategies.objective import Example

    from .baseline import Baseline

__all__ = ["adapter_draws", "held_out_draws", "likeness_of", "losses_of", "measure_after"]

_DEMO = "demo"
_AT_ONCE = 4
_BY_ADAPTER = 8  # draws: on one and the same, adapter and checkpoint differ by little


def held_out_draws(plan: Plan, encoded: "Sequence[Example]") -> "list[Example]":
    """What each draw of held-out noise shows; ``encoded``: every picture of the plan."""
    from clora_ext.training.held_out import spread

    return [encoded[number] for number in spread(len(plan.dataset.taught))]


def adapter_draws(plan: Plan, encoded: "Sequence[Example]") -> "list[Example]":
    """The first few of them, on which the adapter is compared with what has become of it."""
    return held_out_draws(plan, encoded)[:_BY_ADAPTER]


def losses_of(
    model: "Model", examples: "Sequence[Example]", plan: Plan, precision: "Precision"
) -> tuple[float, ...]:
    """The error of each draw, without gradients."""
    from clora_ext.training.held_out import held_out_losses

    # Without gradients a picture takes a fraction of what a training step has just had room for, unless that
    # kept few activations itself.
    settings = plan.settings
    times = 1 if settings.compute.recomputes else _AT_ONCE
    with model.reading_once():
        return held_out_losses(model, examples, times * plan.own_batch_size, precision)


def measure_after(
    model: "Model", plan: Plan, before: "Baseline", trained: Sequence[float], precision: "Precision"
) -> HeldOutLoss | None:
    """The losses of the same draws by the finished checkpoint, beside those before; None: no pictures.

    Args:
        model: the finished checkpoint.
        plan: that it was made by.
        before: the model before.
        trained: the losses of :func:`adapter_draws` by the adapter.
        precision: where the model lies.
    """
    if not before.losses:
        return None
    return HeldOutLoss.of(before.losses, trained, losses_of(model, before.examples, plan, precision))


def likeness_of(
    model: "Model",
    plan: Plan,
    before: "Baseline",
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


def _pictures(plan: Plan) -> "list[Picture]":
    """Those that held-out noise shows, as they are trained."""
    from clora_ext.training.held_out import spread

    pictures = plan.dataset.taught
    return [
        load_image(pictures[number], plan.cuts[number], convert=plan.converts)
        for number in dict.fromkeys(spread(len(pictures)))
    ]
