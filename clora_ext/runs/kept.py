"""What the finished checkpoint has kept: earlier concepts drawn and scored, and what nobody has taught."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from clora_ext.errors import writing
from clora_ext.events import Sink, Stage
from clora_ext.project import Project, State
from clora_ext.project.outcome import Drift, Kept
from clora_ext.project.weights import held
from clora_ext.prompts import reads_as_one
from clora_ext.sampling.earlier import kept, yardstick
from clora_ext.sampling.recorded import recorded_samples
from clora_ext.sampling.untaught import drift, read_base_drawings, untaught_prompts, write_base_drawings

from .plan import Plan
from .scoring import scorer_name

if TYPE_CHECKING:
    from clora_ext.families.model import Model
    from clora_ext.scoring import Scorer

__all__ = ["base_prompts", "draw_base", "drift_of", "kept_of"]

_SCORED, _UNSCORED = 6, 1  # drawings of what nobody taught: pixels say little, and large models take long


def base_prompts(model: "Model", plan: Plan, project: Project) -> tuple[str, ...]:
    """What nobody has taught, before the first concept, when the model is the base; later nothing."""
    if plan.number > 1 or not plan.settings.sampling.kept_count:
        return ()
    most = _SCORED if scorer_name(plan.context, plan.request) else _UNSCORED
    return untaught_prompts(reads_as_one(model.tokens), _taught(plan, project), most)


def draw_base(model: "Model", plan: Plan, project: Project, sink: Sink) -> None:
    """Keep what the base draws of what nobody has taught."""
    prompts = base_prompts(model, plan, project)
    if prompts:
        sink(Stage("measure", "the base"))
        write_base_drawings(model, prompts, plan.sample_size, project.base_sheet)


def kept_of(
    model: "Model", plan: Plan, project: Project, state: State, scorer: "Scorer | None", sink: Sink
) -> Iterator[Kept]:
    """Draw every earlier concept by its own prompt and noises; the first drawing stays in the project.

    Args:
        model: the finished checkpoint.
        plan: that it was made by.
        project: before the new concept.
        state: the new one.
        scorer: tells what is left; None: it is drawn and not told.
        sink: told what happens.
    """
    from clora_ext.sampling.contact_sheet import fitted

    wished = plan.settings.sampling.kept_count
    for record in held(project.concepts, plan.reweighting) if wished else ():
        sink(Stage("measure", f"concept {record.number}"))
        by = None if scorer is None else yardstick(project, record, scorer, wished)
        samples = recorded_samples(project, record, plan.context.family, plan.context.header)
        count = by.drawings if by is not None and by.is_sure else 1
        drawn = samples.with_count(count).sample(model, sink)
        target = project.later_sample(record.number, state.content_hash)
        with writing(target):
            fitted(drawn[0], samples.size).save(target, format="PNG")
        asked = model.reading(samples.prompts)
        found = None if by is None or scorer is None else kept(record.number, by, asked, drawn, scorer.name)
        if found is not None:
            yield found


def drift_of(
    model: "Model", plan: Plan, project: Project, scorer: "Scorer | None", sink: Sink
) -> Drift | None:
    """How far what nobody has taught is from the base; None: what the base drew is not in the project."""
    base = read_base_drawings(project.base_sheet) if plan.settings.sampling.kept_count else None
    if base is None:
        return None
    sink(Stage("measure", "what nobody has taught"))
    return drift(model, base, _taught(plan, project), scorer)


def _taught(plan: Plan, project: Project) -> set[str]:
    """The words of all concepts."""
    names = [(record.token, record.class_name) for record in project.concepts]
    words = [word for name in (*names, (plan.concept.token, plan.concept.class_name)) for word in name]
    return {word for text in words for word in text.lower().split()}
