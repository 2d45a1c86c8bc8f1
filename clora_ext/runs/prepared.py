"""A run before anything is learned: its plan and all that the strategy wanted from the model before."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from clora_ext.events import Sink
from clora_ext.project import Project
from clora_ext.sampling.samples import SamplePrompt

from .lora_material import LoraMaterial
from .observe import Observed, observe_before
from .plan import Plan

if TYPE_CHECKING:
    from clora_ext.prompts.concept_prompts import ConceptPrompts
    from clora_ext.strategies.base import Needs

__all__ = ["PreparedRun", "in_words", "prepare", "prepare_along"]


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """What teaching starts from, by pictures or by a LoRA.

    Attributes:
        plan: what to do.
        project: open for writing, or by the first of several processes; a stopped run leaves its training
            state there.
        prompt: of samples and previews.
        concept: the new one in words.
        earlier: past concepts in words, as the strategy has kept them.
        needs: what the strategy asks for.
        before: what was taken from the model before it learns.
        kept_prompts: what the strategy keeps of all concepts in words, the new one included.
    """

    plan: Plan
    project: Project
    prompt: SamplePrompt
    concept: "ConceptPrompts"
    earlier: "tuple[ConceptPrompts, ...]"
    needs: "Needs"
    before: Observed
    kept_prompts: "tuple[ConceptPrompts, ...]"


def prepare(plan: Plan, project: Project, sink: Sink) -> PreparedRun:
    """Start the project if it is new, ask the strategy what it needs, and take it from the current model."""
    project.start(plan.context.base)
    return prepare_along(plan, project, sink)


def prepare_along(plan: Plan, project: Project, sink: Sink) -> PreparedRun:
    """The same of a project that another process has open; it is only read."""
    settings = plan.settings
    prompt = SamplePrompt(plan.sample_prompt, plan.sample_size, settings.sampling.of_sheet, settings.prompts)
    concept, earlier = in_words(plan), plan.context.kept_prompts(plan.settings.strategy)
    ask = partial(plan.strategy.needs, concept, earlier)
    before = observe_before(plan, prompt, ask, sink)
    kept = tuple(plan.strategy.keep_prompts(concept, earlier))
    return PreparedRun(plan, project, prompt, concept, earlier, before.needs, before, kept)


def in_words(plan: Plan) -> "ConceptPrompts":
    """The new concept as token, class and captions."""
    from clora_ext.prompts.concept_prompts import ConceptPrompts

    if isinstance(plan.material, LoraMaterial):
        prompts: tuple[str, ...] = (plan.sample_prompt,)
    else:
        prompts = tuple(dict.fromkeys(picture.caption for picture in plan.material.taught))
    return ConceptPrompts(plan.concept.token, plan.concept.class_name, prompts)
