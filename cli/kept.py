"""What is left of every concept, one line each, and what else a new one has moved."""

from typing import TYPE_CHECKING

from rich.text import Text

from .tables import listing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clora_ext.project import ConceptRecord
    from clora_ext.project.outcome import Drift, Kept, Outcome

    from .output import Output

__all__ = ["drift_words", "overlap_words", "show_kept"]

_COLUMNS = ("#", "concept", "then", "now", "kept")


def show_kept(concepts: "Sequence[ConceptRecord]", outcome: "Outcome | None", output: "Output") -> None:
    """The table after a run; of a first concept there is nothing to tell."""
    if outcome is None or len(concepts) < 2:  # noqa: PLR2004 - the new one and another
        return
    output.show("")
    if not outcome.kept:
        output.show(
            "what earlier concepts have kept was not scored: `clora report` shows what they draw, "
            "--scorer tells it in numbers"
        )
        return
    kept = {one.number: one for one in outcome.kept}
    rows = [_row(record, kept.get(record.number)) for record in concepts[:-1]]
    rows.append(_new_row(concepts[-1], outcome))
    output.show(listing(_COLUMNS, rows, output.answers.width, right=_COLUMNS[2:]))
    scorers = ", ".join(sorted({one.scorer for one in outcome.kept}))
    words = f"then: when learned; scores: mean cosine by {scorers}; kept: share of the gain, 1 all, 0 none"
    output.show(Text(words, "dim"))
    if outcome.forgotten:
        numbers = ", ".join(map(str, outcome.forgotten))
        output.show(Text(f"! less than half is left of concept {numbers}", "bold yellow"))


def _row(record: "ConceptRecord", kept: "Kept | None") -> list[str]:
    name = [str(record.number), f"{record.token} {record.class_name}"]
    if kept is None:
        return [*name, "", "", "-"]
    return [*name, _score(kept.learned), _score(kept.now), f"{kept.share:.2f}"]


def _new_row(record: "ConceptRecord", outcome: "Outcome") -> list[str]:
    """The new concept has had no time to lose anything."""
    score = "" if outcome.likeness is None else f"{outcome.likeness.after.mean:.2f}"
    return [str(record.number), f"{record.token} {record.class_name}", score, score, "new"]


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def drift_words(drift: "Drift") -> str:
    """How far what nobody has taught has moved."""
    if drift.distance is None:
        return f"{100 * drift.change.mean:.1f} % of the pixels' range from the base, where nothing was taught"
    found = drift.distance
    return (
        f"{found.mean:.3f} +- {found.error:.3f} from the base, where nothing was taught "
        f"(1 - cosine, {drift.scorer})"
    )


def overlap_words(interference: float) -> str:
    """What the new change shares with all earlier ones."""
    return f"{interference:.3f} with earlier changes before folding (0: none, 1: one direction)"
