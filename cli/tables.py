"""What was found and what there is, as tables for people."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from .wording import counted, printable, size

if TYPE_CHECKING:
    from clora_ext.data import Dataset, Picture, Rejected

__all__ = ["dataset_summary", "dataset_table", "table"]

_MOST_ROWS = 40


def table(*columns: str, right: Iterable[str] = ()) -> Table:
    """An empty table with our look; ``right`` names the columns that are aligned to the right."""
    look = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for name in columns:
        look.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return look


def dataset_table(dataset: "Dataset") -> Table:
    """Every file with its size, caption and notes; of many, those with notes come first."""
    look = table("file", "pixels", "caption", "from", "notes", right=["pixels"])
    look.columns[2].no_wrap, look.columns[2].overflow = True, "ellipsis"
    for bad in dataset.rejected:
        look.add_row(*_rejected(bad, dataset.root))
    pictures = dataset.pictures
    if len(pictures) > _MOST_ROWS:
        pictures = tuple(sorted(pictures, key=lambda picture: not picture.notes))[:_MOST_ROWS]
    for picture in pictures:
        look.add_row(*_picture(picture, dataset.root))
    return look


def dataset_summary(dataset: "Dataset") -> str:
    """How many pictures there are, how many of them the table leaves out, and what else was found."""
    total = sum(picture.bytes for picture in dataset.pictures)
    line = f"{counted(len(dataset.pictures), 'picture')}, {size(total)}, in {dataset.root}"
    if dataset.rejected:
        line += f"; {counted(len(dataset.rejected), 'file')} left out"
    hidden = len(dataset.pictures) - _MOST_ROWS
    if hidden > 0:
        line += f"\n(the table shows {_MOST_ROWS}; --json lists all)"
    return "\n".join([line, *(f"note: {note}" for note in dataset.notes)])


def _picture(picture: "Picture", root: Path) -> list[Text]:
    repeats = (f"shown {picture.repeats} times",) if picture.repeats > 1 else ()
    cells = [
        _below(picture.path, root),
        f"{picture.width} x {picture.height}",
        picture.caption,
        picture.caption_from,
        "; ".join([*repeats, *picture.notes]),
    ]
    return [Text(printable(cell)) for cell in cells]


def _rejected(bad: "Rejected", root: Path) -> list[Text]:
    cells = [_below(bad.path, root), "", "", "", f"left out: {bad.reason}"]
    return [Text(printable(cell), "red") for cell in cells]


def _below(path: Path, root: Path) -> str:
    """The path inside the folder that was named."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
