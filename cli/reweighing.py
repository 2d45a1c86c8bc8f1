"""What `clora remove` and `clora weigh` show: the plan, what would be lost, what was done."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from .asking import ask, somebody_can_answer
from .estimates import estimate_facts
from .learned import kept_words
from .options import DEFAULT_PROJECT
from .output import Output, tick
from .runs import show_dry_run
from .watching import watching
from .wording import command, duration

if TYPE_CHECKING:
    from clora_ext.runs.estimate import Estimate
    from clora_ext.runs.plan import Plan
    from clora_ext.runs.result import Result

__all__ = ["Wish", "reweigh"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for.

    Attributes:
        project: its folder.
        token: of the concept.
        weight: that it is to have; 0: none.
        keep: earlier models to keep for undo.
        base: where the base lies now; None: where it was.
        is_dry: show the plan and stop.
        is_sure: ask nothing.
    """

    project: Path
    token: str
    weight: float
    keep: int
    base: Path | None
    is_dry: bool
    is_sure: bool


def reweigh(wish: Wish, output: Output) -> None:
    """Do it, with everything that is seen of it."""
    from clora_ext.runs.make_plan import make_plan
    from clora_ext.runs.weigh import weigh, weigh_request

    request = weigh_request(wish.project, wish.token, wish.weight, keep=wish.keep, base=wish.base)
    if wish.is_dry:
        show_dry_run(make_plan(request), _show_plan, output)
        return
    if not wish.is_sure and somebody_can_answer(output):
        _ask(wish, make_plan(request), output)
    plans: list[Plan] = []
    with watching(output) as (sink, stop):

        def on_plan(plan: "Plan") -> None:
            from clora_ext.runs.estimate import estimate

            stop.check()
            plans.append(plan)
            needed = estimate(plan)
            _show_plan(plan, needed, output)
            if output.as_json:
                output.plan({**plan.as_dict(), "estimate": needed.as_dict()})

        result = weigh(
            wish.project,
            wish.token,
            wish.weight,
            keep=wish.keep,
            base=wish.base,
            sink=sink,
            on_plan=on_plan,
        )
    if plans:  # else a note has said that nothing was to be done
        _show_result(plans[-1], result, output)
    output.result(result.as_dict())


def _ask(wish: Wish, plan: "Plan", output: Output) -> None:
    """Undo takes the step back; only an unfinished training, and undo itself, can be lost by it."""
    from clora_ext.project import Project

    unfinished = Project.open(wish.project).unfinished
    lost = []
    if unfinished is not None:
        lost.append(f"The unfinished training of {unfinished.words} will be deleted.")
    if not wish.keep:
        lost.append("No earlier model will be kept (--keep 0), so this cannot be undone.")
    if lost and plan.learned is None:
        ask(output, " ".join(lost), "Go on?", "nothing was changed")


def _show_plan(plan: "Plan", needed: "Estimate", output: Output) -> None:
    """What will be added to the model."""
    new = plan.reweighting
    assert new is not None  # these commands make no other plan  # noqa: S101
    difference = plan.as_dict()["weight"]
    output.facts(
        {
            "concept": f"{new.number}, {plan.concept.trigger}",
            "weight": f"{new.weight - difference:g} now, {new.weight:g} then (1: as it was taught)",
            "change": f"{difference:+g} times what was kept of it, in {len(plan.targets)} tensors",
            **{name: fact for name, fact in estimate_facts(plan, needed).items() if name != "time"},
        }
    )
    output.show("")


def _show_result(plan: "Plan", result: "Result", output: Output) -> None:
    """What has become of the concept, and of the others."""
    new = plan.reweighting
    assert new is not None  # as above  # noqa: S101
    became = f"has the weight {new.weight:g}" if new.weight else "is removed from the model"
    what = f"concept {new.number}, {plan.concept.trigger}, {became}"
    output.show(Text.assemble(tick(output.answers), (what, "bold green"), f"  in {duration(result.seconds)}"))
    kept = {} if result.outcome is None or not result.outcome.kept else {"kept": kept_words(result.outcome)}
    sheet = {} if result.sheet is None else {"sheet": result.sheet}
    output.facts({**kept, "checkpoint": result.checkpoint, "content": result.content_hash, **sheet})
    output.show("")
    elsewhere: list[str | Path] = [] if result.project == DEFAULT_PROJECT else ["--project", result.project]
    back = command("clora", "undo", *elsewhere) if plan.request.keep else "nothing: --keep 0"
    output.show(f"taken back by: {back}")
