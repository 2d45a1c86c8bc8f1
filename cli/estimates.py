"""What a run will take, for people."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .output import Output
from .wording import duration, size

if TYPE_CHECKING:
    from clora_ext.runs.estimate import Estimate
    from clora_ext.runs.plan import Plan

__all__ = ["estimate_facts", "show_shortage"]


def estimate_facts(plan: "Plan", needed: "Estimate") -> dict[str, object]:
    """Memory, time and disk, as rows of the plan."""
    return {"memory": _memory(needed), "time": _time(plan, needed), "disk": _disk(needed)}


def show_shortage(plan: "Plan", needed: "Estimate", output: Output) -> None:
    """What helps if there is too little memory."""
    from clora_ext.runs.memory_remedies import training_remedies

    if needed.memory is not None and needed.memory > needed.memory_free:
        tried = ", ".join(training_remedies(plan))
        wishes = f"; try {tried}" if tried else ""
        output.show(f"note: it may run out of memory{wishes}, or --memory auto")


def _memory(found: "Estimate") -> str:
    """At the most, beside what is free."""
    needed = "unknown" if found.memory is None else f"about {size(found.memory)}"
    return f"{needed}, {size(found.memory_free)} free"


def _time(plan: "Plan", found: "Estimate") -> str:
    """Of the whole run, or of the training if no more is known."""
    if found.seconds_per_step is None:
        return "unknown: no run like it has been on this machine yet"
    steps = plan.settings.schedule.steps - plan.resume_step
    training = duration(steps * found.seconds_per_step)
    if found.seconds is None:
        return f"about {training} of training, as fast as the last run like it"
    return f"about {duration(found.seconds)}, {training} of it training, as the last run like it"


def _disk(found: "Estimate") -> str:
    """While it runs and at the end."""
    return ", ".join(_disk_parts(found))


def _disk_parts(found: "Estimate") -> Iterator[str]:
    yield f"writes {size(found.disk.total)}"
    if found.disk.training:
        yield f"{size(found.disk.stays)} of it stay"
    yield f"{size(found.disk_free)} free"
