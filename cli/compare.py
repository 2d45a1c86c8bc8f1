"""`clora compare`: the same pictures by several strategies, side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from clora_ext import strategies
from clora_ext.config.presets import preset_summaries
from clora_ext.config.settings import Settings

from .knobs import given_values, with_knobs
from .learned import learned_words
from .option_groups import Base, with_groups
from .options import DEFAULT_PROJECT, JsonOption, ProjectOption
from .output import Output, tick
from .picture_options import Names
from .tables import table
from .watching import watching
from .wording import duration, printable, short_hash

if TYPE_CHECKING:
    from clora_ext.runs.compare import Comparison, ComparisonRow

__all__ = ["EPILOG", "compare"]

EPILOG = "Example: clora compare --strategies mask,merge ./dog_images"


_WIDE = 70  # columns


@with_knobs(Settings, after="preset")
@with_groups
def compare(
    images: Annotated[
        Path, typer.Argument(metavar="IMAGES", help="Pictures, as for add-concept.", show_default=False)
    ],
    *,
    chosen: Annotated[
        str,
        typer.Option("--strategies", metavar="NAME,NAME", help="Which to compare, with their own defaults."),
    ] = ",".join(strategies.recommended()),
    project: ProjectOption = DEFAULT_PROJECT,
    start: Base,
    names: Names,
    preset: Annotated[
        str, typer.Option(help=preset_summaries(), metavar="NAME", rich_help_panel="Training")
    ] = "balanced",
    keep_copies: Annotated[
        bool, typer.Option("--keep-copies", help="Keep the taught copies, which are projects like any other.")
    ] = False,
    as_json: JsonOption = False,
    **knobs: object,
) -> None:
    """Teach the same pictures by several strategies, on copies; one sheet and one table.

    The project stays as it is. Ctrl-C saves; the same command goes on.
    """
    from clora_ext.config.presets import at_preset
    from clora_ext.runs.compare import compare as compare_strategies
    from clora_ext.runs.request import Pictures, Request, asked_statements
    from clora_ext.runs.suggested import suggested_settings

    output = Output(as_json=as_json)
    statements = asked_statements(start.prediction, zero_snr=start.zero_snr, variant=start.variant)
    suitable = suggested_settings(project, start.base, statements)
    settings = at_preset(suitable, preset).with_values(**given_values(knobs))
    request = Request(Pictures(images), project, settings=settings, **vars(start), **vars(names))
    asked = [name.strip() for name in chosen.split(",") if name.strip()]
    with watching(output) as (sink, _):
        found = compare_strategies(request, asked, sink, keep_copies=keep_copies)
    _show(found, output, keep_copies=keep_copies)
    rows = [{**row.as_dict(), "copy": row.copy if keep_copies else None} for row in found.rows]
    output.result({"rows": rows, "sheet": found.sheet, "table": found.table})


def _show(found: "Comparison", output: Output, *, keep_copies: bool) -> None:
    output.show("")
    output.show(_table(found.rows, output.answers.width))
    output.show("")
    words = f"compared {len(found.rows)} strategies; the project is as it was"
    output.show(Text.assemble(tick(output.answers), printable(words)))
    copies = {"copies": found.rows[0].copy.parent} if keep_copies else {}
    output.facts({"sheet": found.sheet, "table": found.table, **copies})


def _table(rows: "Sequence[ComparisonRow]", width: int) -> Table:
    """A row for each strategy; on a narrow screen without what only the table's file needs."""
    cells = [_cells(row) for row in rows]
    names = [name for name in cells[0] if width >= _WIDE or name not in {"loss", "content"}]
    look = table(*names, right=["learned", "time"])
    for row in cells:
        look.add_row(*(Text(printable(row[name])) for name in names))
    return look


def _cells(row: "ComparisonRow") -> dict[str, str]:
    """One strategy by the names of the columns."""
    outcome = row.outcome
    loss = outcome.held_out if outcome else None
    kept = [f"{one.share:.2f}" for one in outcome.kept] if outcome else []
    return {
        "strategy": row.strategy,
        "learned": learned_words(outcome) if outcome else "-",
        "kept": ", ".join(kept) or "-",
        "loss": f"{loss.before.mean:.4f} to {loss.after.mean:.4f}" if loss else "-",
        "time": "-" if row.seconds is None else duration(row.seconds),
        "content": short_hash(row.content_hash),
    }
