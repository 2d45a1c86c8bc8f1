"""A run that teaches, as it is seen: the plan first, then what happens, then what was made."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from clora_ext.events import Sink

from .kept import show_kept
from .learned import learned_facts, verdict
from .options import DEFAULT_PROJECT
from .output import Output
from .watching import watching
from .wording import command, printable

if TYPE_CHECKING:
    from clora_ext.runs.context import ProjectContext
    from clora_ext.runs.estimate import Estimate
    from clora_ext.runs.plan import Plan
    from clora_ext.runs.result import Result

__all__ = [
    "ShowPlan",
    "forgetting_facts",
    "keep_delta_facts",
    "prediction_facts",
    "show_context",
    "show_dry_run",
    "show_notes",
    "teach",
]

ShowPlan = Callable[["Plan", "Estimate", Output], None]
"""Tells people what will be done, and what it will take."""


def show_context(context: "ProjectContext", project: Path, base: Path | None, output: Output) -> None:
    """Where a new project begins."""
    if context.new_project:
        on = "the built-in demo model" if base is None else context.base_file
        output.show(f"no project in {project} yet: starting one on {on}")
    for name, file in context.base.companions.items():
        output.show(f"with the {name.replace('_', ' ')} {printable(file)}")


def prediction_facts(context: "ProjectContext") -> dict[str, str]:
    """What the model predicts and who says so, as a row of the plan."""
    found = context.prediction
    return {"predicts": f"{found.words} ({found.source or 'what is usual: nothing says otherwise'})"}


def keep_delta_facts(plan: "Plan") -> dict[str, str]:
    """What the project is taken out of by keeping a change, as a row of the plan."""
    if not plan.request.keep_delta:
        return {}
    return {"delta": "kept in the project: a past adapter, outside of the strict regime"}


def forgetting_facts(plan: "Plan") -> dict[str, str]:
    """What will be told of earlier concepts, as a row of the plan; none where there are none."""
    from clora_ext.runs.scoring import scorer_name

    name, most = scorer_name(plan.context, plan.request), plan.request.max_forgetting
    if plan.number == 1 or name is None:
        return {}
    limit = "" if most is None else f"; the run fails if a concept would lose more than {most:g} of it"
    return {"forgetting": f"scored by {name}{limit}"}


def show_notes(context: "ProjectContext", output: Output) -> None:
    """What a user should know of the model."""
    for note in context.notes:
        output.show(f"note: {note}")


def show_dry_run(plan: "Plan", show_plan: ShowPlan, output: Output) -> None:
    """The plan alone."""
    from clora_ext.runs.estimate import estimate

    needed = estimate(plan)
    show_plan(plan, needed, output)
    for note in (*plan.text_notes, *needed.notes):  # a run says so itself
        output.show(f"note: {note}")
    if plan.learned is not None:
        output.show(plan.learned_note)
    output.show("a dry run: nothing was changed")
    output.result({"dry_run": True, "plan": {**plan.as_dict(), "estimate": needed.as_dict()}})


def teach(
    run: "Callable[[Sink, Callable[[Plan], None]], Result]",
    show_plan: ShowPlan,
    output: Output,
    done: str,
) -> None:
    """The run itself, with everything that is seen of it; ``done`` says what has become of the concept."""
    from clora_ext.runs.estimate import estimate

    with watching(output) as (sink, stop):

        def on_plan(plan: "Plan") -> None:
            stop.check()
            needed = estimate(plan)
            show_plan(plan, needed, output)
            if output.as_json:
                output.plan({**plan.as_dict(), "estimate": needed.as_dict()})

        result = run(sink, on_plan)
    _show_result(result, output, done)
    output.result(result.as_dict())


def _show_result(result: "Result", output: Output, done: str) -> None:
    """What was made, and what to do with it."""
    from clora_ext.project import Project

    output.show("")
    output.show(verdict(result, done, output.answers))
    output.facts(
        {
            **learned_facts(result),
            "checkpoint": result.checkpoint,
            "content": result.content_hash,
            "prompt": result.trigger_prompt,
            **({} if result.sheet is None else {"sheet": result.sheet}),
        }
    )
    show_kept(Project.open(result.project).concepts[: result.number], result.outcome, output)
    output.show("")
    elsewhere: list[str | Path] = [] if result.project == DEFAULT_PROJECT else ["--project", result.project]
    output.show(f"next: {command('clora', 'generate', '-p', result.trigger_prompt, *elsewhere)}")
