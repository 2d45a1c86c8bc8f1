"""What was found and what there is, as tables for people."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from clora_ext.project.weights import weights_of

from .wording import counted, printable, short_hash, size

if TYPE_CHECKING:
    from clora_ext.data import Dataset, Picture
    from clora_ext.project import ConceptRecord

__all__ = ["concepts_table", "dataset_summary", "dataset_table", "listing"]

_MOST_NAMED = 10
_MOST_ROWS = 40
_GAP = 2
_LEAST = 8
_TWO_COLUMNS = 60  # characters of a screen with room for a table of pictures


def table(*columns: str, right: Iterable[str] = ()) -> Table:
    """An empty table with our look; ``right`` names the columns that are aligned to the right."""
    look = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for name in columns:
        look.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return look


def dataset_table(dataset: "Dataset", width: int) -> RenderableType:
    """Every picture with its size, caption and notes, in ``width`` columns; of many, those with notes first.

    Where there is no room for columns, each stands on lines of its own.

    Names of files are never cut, only captions are.
    """
    pictures = dataset.pictures
    if len(pictures) > _MOST_ROWS:
        pictures = tuple(sorted(pictures, key=lambda picture: not picture.notes))[:_MOST_ROWS]
    rows = [_row(picture, dataset.root) for picture in pictures]
    if width < _TWO_COLUMNS:
        return Group(*(part for row in rows for part in _stacked(row)))
    widths = _widths(rows, width)
    look = table(*widths, right=["pixels"])
    for column, (name, most) in zip(look.columns, widths.items(), strict=True):
        column.width = most
        column.no_wrap = name in {"pixels", "caption", "from"}
        column.overflow = "ellipsis" if name == "caption" else "fold"
    for row in rows:
        look.add_row(*(Text(row[name]) for name in widths))
    return look


def dataset_summary(dataset: "Dataset") -> str:
    """How many pictures there are, what was left out and why, and what else was found."""
    total = sum(picture.bytes for picture in dataset.pictures)
    hidden = len(dataset.pictures) - _MOST_ROWS
    return "\n".join(
        [
            f"{counted(len(dataset.pictures), 'picture')}, {size(total)}, in {dataset.root}",
            *(
                [f"{counted(len(dataset.held_out), 'picture')} more held out: {_named(dataset.held_out)}"]
                if dataset.held_out
                else []
            ),
            *([f"({hidden} more than the table shows; --json lists all)"] if hidden > 0 else []),
            *(f"left out: {_below(bad.path, dataset.root)} {bad.reason}" for bad in dataset.rejected),
            *(f"note: {note}" for note in dataset.notes),
        ]
    )


def _named(pictures: "Sequence[Picture]") -> str:
    """Their files, the first ten."""
    names = [printable(one.path.name) for one in pictures[:_MOST_NAMED]]
    return ", ".join(names) + (
        f" and {len(pictures) - _MOST_NAMED} more" if len(pictures) > _MOST_NAMED else ""
    )


def concepts_table(concepts: "Sequence[ConceptRecord]", width: int) -> RenderableType:
    """What was learned, in the order in which it was; in ``width`` columns."""
    columns = ("#", "concept", "strategy", "state", "pictures", "content", "learned")
    weights = weights_of(concepts)
    rows = [
        [
            str(record.number),
            _called(record, weights),
            record.strategy,
            record.state_level,
            str(len(record.images)),
            short_hash(record.content_hash),
            record.created[: len("2026-01-31")],
        ]
        for record in concepts
    ]
    return listing(columns, rows, width, right=["#", "pictures"])


def _called(record: "ConceptRecord", weights: Mapping[int, float]) -> str:
    """Token and class, and what has become of the concept; or which one was weighed anew."""
    new = record.reweighting
    if new is not None:
        what = f"weight {new.weight:g}" if new.weight else "removed"
        return f"{record.trigger}: {what} ({new.number})"
    weight = weights[record.number]
    state = "" if weight == 1 else f" (weight {weight:g} now)" if weight else " (removed)"
    return f"{record.trigger}{state}"


def listing(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, right: Iterable[str] = ()
) -> RenderableType:
    """A table if it fits into ``width`` columns; else the rows one below the other, each value with its name.

    Args:
        columns: their names; the first two say which row it is.
        rows: a cell for each column.
        width: of the screen.
        right: names of the columns that are aligned to the right.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    longest = [max(Text(text).cell_len for text in column) for column in zip(columns, *cells, strict=True)]
    if sum(longest) + _GAP * (len(columns) - 1) <= width:
        look = table(*columns, right=right)
        for row in cells:
            look.add_row(*map(Text, row))
        return look
    return Group(*(part for row in cells for part in _record(columns, row)))


def _record(columns: Sequence[str], row: Sequence[str]) -> Iterator[RenderableType]:
    """One row on lines of its own."""
    yield _line(" ".join(row[:2]))
    for name, cell in zip(columns[2:], row[2:], strict=True):
        if cell:
            yield _inner(f"{name}: {cell}")


def _row(picture: "Picture", root: Path) -> dict[str, str]:
    """The cells of one picture by their columns."""
    source = picture.caption_from
    repeats = (f"shown {picture.repeats} times",) if picture.repeats > 1 else ()
    cells = {
        "file": _below(picture.path, root),
        "pixels": f"{picture.width} x {picture.height}",
        "caption": picture.caption,
        "from": Path(source).suffix if Path(source).stem == picture.path.stem else source,
        "notes": "; ".join([*repeats, *picture.notes]),
    }
    return {name: printable(cell) for name, cell in cells.items()}


def _stacked(row: Mapping[str, str]) -> Iterator[RenderableType]:
    """The cells of one picture below each other."""
    yield _line(f"{row['file']}  {row['pixels']}")
    yield _inner(f"{row['caption']} ({row['from']})")
    if row["notes"]:
        yield _inner(row["notes"])


def _line(text: str) -> Text:
    return Text(text, overflow="fold")


def _inner(text: str) -> Padding:
    """What stands below a line, and belongs to it."""
    return Padding(_line(text), (0, 0, 0, _GAP))


def _widths(rows: Sequence[Mapping[str, str]], width: int) -> dict[str, int]:
    """How wide each column may be; no notes, no such column."""
    longest = {
        name: max([len(name), *(Text(row[name]).cell_len for row in rows)])
        for name in ("file", "pixels", "caption", "from", "notes")
    }
    if not any(row["notes"] for row in rows):
        del longest["notes"]
    room = width - longest["pixels"] - longest["from"] - _GAP * (len(longest) - 1)
    longest["file"] = min(longest["file"], max(_LEAST, room // 3))
    room -= longest["file"]
    share = room * 6 // 10 if "notes" in longest else room
    longest["caption"] = min(longest["caption"], max(_LEAST, share))
    room -= longest["caption"]
    if "notes" in longest:
        longest["notes"] = min(longest["notes"], max(_LEAST, room))
    return longest


def _below(path: Path, root: Path) -> str:
    """The path inside the folder that was named."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
