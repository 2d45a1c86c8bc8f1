"""What a run says that was learned: a tick only where the numbers bear it out."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from .kept import drift_words, overlap_words
from .output import tick
from .wording import duration

if TYPE_CHECKING:
    from clora_ext.project.outcome import HeldOutLoss, Outcome
    from clora_ext.runs.result import Result

__all__ = ["brief_words", "kept_words", "learned_facts", "learned_words", "loss_words", "verdict"]


def verdict(result: "Result", done: str, console: Console) -> Text:
    """The line that says whether the concept was learned; ``done``: what has become of it."""
    outcome, concept = result.outcome, f"concept {result.number}"
    how = f"  in {duration(result.seconds)}"
    if outcome is None or outcome.is_learned is None:  # of a LoRA nothing is measured, and nothing claimed
        return Text.assemble(tick(console), (f"{concept} is {done}", "bold green"), how)
    if outcome.is_learned:
        return Text.assemble(tick(console), (f"{concept} is {done}, {_measured(outcome)}", "bold green"), how)
    doubt = "learned in part" if outcome.decisive else "nothing shows that it was learned"
    words = f"! {concept} is in the model, but {doubt}: {_measured(outcome)}"
    return Text.assemble((words, "bold yellow"), how, "\n", ("try more --steps", "yellow"))


def learned_facts(result: "Result") -> dict[str, object]:
    """What was measured, row by row."""
    outcome, facts = result.outcome, dict[str, object]()
    if outcome is None:
        return facts
    if outcome.likeness is not None:
        by = outcome.likeness.scorer
        facts["learned"] = f"{learned_words(outcome)} (0: drawn as before, 1: like the pictures; by {by})"
    if outcome.held_out is not None:
        facts["loss"] = loss_words(outcome.held_out)
    if outcome.drift is not None:
        facts["drift"] = drift_words(outcome.drift)
    if outcome.interference is not None:
        facts["overlap"] = overlap_words(outcome.interference)
    return facts


def _measured(outcome: "Outcome") -> str:
    """The number on which the verdict rests."""
    if outcome.decisive is not None:
        return f"{learned_words(outcome)} of the way"
    found = outcome.held_out
    assert found is not None  # else there is no verdict  # noqa: S101
    return f"loss {found.before.mean:.4f} to {found.after.mean:.4f} on noise not trained with"


def learned_words(outcome: "Outcome") -> str:
    """The share that was learned; a dash where there is no scorer."""
    return "-" if outcome.likeness is None else f"{outcome.likeness.learned:.2f}"


def brief_words(outcome: "Outcome") -> str:
    """What was learned in a word or two."""
    if outcome.likeness is not None or outcome.held_out is None:
        return learned_words(outcome)
    found = outcome.held_out
    return f"loss {found.before.mean:.4f} to {found.after.mean:.4f}"


def kept_words(outcome: "Outcome") -> str:
    """What is left of earlier concepts."""
    words = [f"{one.share:.2f} of concept {one.number}" for one in outcome.kept]
    return ", ".join(words) + (" (below 0.5: forgotten by half)" if outcome.forgotten else "")


def loss_words(found: "HeldOutLoss") -> str:
    """The held-out losses, and how sure their difference is."""
    fold = f" ({found.trained.mean:.4f} before folding)" if found.was_changed_by_folding else ""
    words = f"{found.before.mean:.4f} to {found.after.mean:.4f} on noise not trained with{fold}"
    return f"{words}, better by {found.gain.mean:.4f} +- {found.gain.error:.4f}"
