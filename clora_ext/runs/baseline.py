"""The model before it learns: what the finished one is compared with.

It is asked after the training, in the network that has just been trained and with its adapters as they
began, so that the first step does not wait for it and no model is loaded for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from clora_ext.data import covering, load_image
from clora_ext.events import Sink, Stage
from clora_ext.project.outcome import Estimate, Question
from clora_ext.prompts.untrained import reworded
from clora_ext.sampling.untaught import remember_untaught

from .kept import base_prompts, draw_base
from .measure import held_out_draws, losses_of
from .observe import ask_current
from .plan import Plan
from .prepared import PreparedRun
from .scoring import scorer_name

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from clora_ext.config.precision import Precision
    from clora_ext.families.model import Model
    from clora_ext.strategies.objective import Example

__all__ = ["Baseline", "baseline_of_current", "has_own_scorer", "remember_baseline", "take_baseline"]

_DEMO = "demo"


@dataclass(frozen=True, slots=True)
class Baseline:
    """The model before the concept.

    Attributes:
        samples: of the concept's prompt; none: there is no contact sheet.
        examples: what each draw of held-out noise shows, without its condition; empty: there are no pictures.
        losses: of each draw.
        questions: what the scorer has drawn; empty: there is no scorer for this model.
        likeness: of what it drew.
    """

    samples: "Sequence[Picture]"
    examples: "tuple[Example, ...]" = ()
    losses: tuple[float, ...] = ()
    questions: tuple[Question, ...] = ()
    likeness: Estimate | None = None


def remember_baseline(run: PreparedRun, model: "Model") -> None:
    """Have the model encode what :func:`take_baseline` draws, for when the text encoders are gone."""
    run.prompt.remember(model)
    remember_untaught(model, base_prompts(model, run.plan, run.project), run.plan.sample_size)


def take_baseline(
    run: PreparedRun, model: "Model", encoded: "Sequence[Example]", precision: "Precision", sink: Sink
) -> Baseline:
    """Draw with the model before the training, and measure it.

    Args:
        run: of pictures.
        model: the network, which computes what it computed before the training.
        encoded: every picture of the plan.
        precision: where the model lies.
        sink: told what happens.

    Raises:
        OutOfMemory: it cannot be drawn with.
    """
    from clora_ext.config.memory import reporting_out_of_memory

    from .memory_remedies import sampling_remedies

    plan = run.plan
    with reporting_out_of_memory("drawing the model before", sampling_remedies(plan)):
        drawn = _drawn(run, model, sink)
        sink(Stage("measure", "before"))
        draws = held_out_draws(plan, encoded)
        losses = losses_of(model, draws, plan, precision)
        found = replace(drawn, examples=tuple(replace(one, condition=None) for one in draws), losses=losses)
        return _scored(found, model, plan) if has_own_scorer(plan) else found


def baseline_of_current(run: PreparedRun, sink: Sink) -> Baseline:
    """Of a run without pictures: nothing is measured, and the model has to be loaded to draw."""
    sampling = run.plan.settings.sampling
    if not sampling.has_sheet and (run.plan.number > 1 or not sampling.kept_count):
        return Baseline(())
    return ask_current(run.plan, lambda model: _drawn(run, model, sink))


def has_own_scorer(plan: Plan) -> bool:
    """Whether the demo model's own scorer judges what the model draws, before the training and after."""
    return scorer_name(plan.context, plan.request) == _DEMO


def _drawn(run: PreparedRun, model: "Model", sink: Sink) -> Baseline:
    draw_base(model, run.plan, run.project, sink)
    if not run.plan.settings.sampling.has_sheet:
        return Baseline(())
    sink(Stage("sample", "before"))
    return Baseline(run.prompt.sample(model, sink))


def _scored(found: Baseline, model: "Model", plan: Plan) -> Baseline:
    from clora_ext.sampling.likeness import likeness, questions
    from clora_ext.scoring.demo import load_demo_scorer

    scorer = load_demo_scorer()
    asked = questions(scorer, _by_prompt(plan))
    return replace(found, questions=asked, likeness=likeness(scorer, model, asked))


def _by_prompt(plan: Plan) -> "Mapping[str, list[Picture]]":
    """The pictures as the scorer sees them, by their captions in other words."""
    from clora_ext.sampling.likeness import SIDE

    found: dict[str, list[Picture]] = {}
    for picture in plan.dataset.taught:
        small = load_image(
            picture, covering(picture.width, picture.height, SIDE, SIDE), convert=plan.converts
        )
        found.setdefault(reworded(picture.caption), []).append(small)
    return found
