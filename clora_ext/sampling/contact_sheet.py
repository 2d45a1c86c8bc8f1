"""Contact sheets: labelled rows of pictures in one PNG."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps, PngImagePlugin

__all__ = [
    "Row",
    "SheetMetadata",
    "cells_of",
    "contact_sheet",
    "fitted",
    "grid",
    "read_cells",
    "read_picture",
    "read_sample",
    "read_sheet_metadata",
    "sample_of",
    "write_sheet",
]

_KEY = "clora"
_MOST_LOSSES = 1000
_MOST_PIXELS = 1 << 26

_MARGIN = 8
_LABEL_HEIGHT = 22
_SMALLEST_CELL = 128
_LARGEST_CELL = 512
_WIDEST_GRID = 4096


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a sheet: a label above pictures of any size."""

    label: str
    images: Sequence[Image.Image]


@dataclass(frozen=True, slots=True)
class SheetMetadata:
    """What a concept's contact sheet records as text, inside the PNG.

    Attributes:
        prompt: that its pictures were sampled by.
        losses: of the training's steps; of more than 1,000, every n-th.
    """

    prompt: str
    losses: tuple[float, ...] = ()


def write_sheet(rows: Sequence[Row], size: int, metadata: SheetMetadata, target: Path) -> None:
    """Write a contact sheet of ``rows`` as PNG; see :func:`contact_sheet`."""
    thinned = metadata.losses[:: max(1, ceil(len(metadata.losses) / _MOST_LOSSES))]
    text = PngImagePlugin.PngInfo()
    text.add_text(_KEY, json.dumps(asdict(SheetMetadata(metadata.prompt, thinned))))
    contact_sheet(rows, size).save(target, format="PNG", pnginfo=text)


def read_sheet_metadata(sheet: Path) -> SheetMetadata | None:
    """What a contact sheet records; None if it is none, or older than such records."""
    try:
        with Image.open(sheet, formats=("PNG",)) as opened:
            content = json.loads(opened.info.get(_KEY, ""))
        return SheetMetadata(str(content["prompt"]), tuple(float(loss) for loss in content["losses"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError, SyntaxError):
        return None


def contact_sheet(rows: Sequence[Row], size: int) -> Image.Image:
    """All rows below each other; pictures are fitted into square cells, keeping their proportions.

    Args:
        rows: from the top.
        size: side of a cell, pixels; taken as 128 at least, so that a person can judge small pictures, and
            512 at most.
    """
    cell = _cell(size)
    columns = max(len(row.images) for row in rows)
    width = columns * (cell + _MARGIN) + _MARGIN
    height = len(rows) * (cell + _LABEL_HEIGHT + _MARGIN) + _MARGIN
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=14)
    for number, row in enumerate(rows):
        top = _MARGIN + number * (cell + _LABEL_HEIGHT + _MARGIN)
        draw.text((_MARGIN, top), row.label, fill="black", font=font)
        for column, image in enumerate(row.images):
            left = _MARGIN + column * (cell + _MARGIN)
            sheet.paste(fitted(image, size), (left, top + _LABEL_HEIGHT))
    return sheet


def grid(columns: Sequence[str], rows: Mapping[str, Sequence[Image.Image | None]], size: int) -> Image.Image:
    """Pictures in a table; where there is none, the paper stays white.

    Args:
        columns: their titles.
        rows: by title, a picture or None for each column.
        size: side of a picture, pixels; taken as for :func:`contact_sheet`, but smaller where there are many.
    """
    cell = max(_SMALLEST_CELL // 2, min(_cell(size), _WIDEST_GRID // len(columns)))
    font = ImageFont.load_default(size=14)
    indent = 2 * _MARGIN + ceil(max(font.getlength(title) for title in rows))
    width = indent + len(columns) * (cell + _MARGIN)
    table = Image.new("RGB", (width, _LABEL_HEIGHT + _MARGIN + len(rows) * (cell + _MARGIN)), "white")
    draw = ImageDraw.Draw(table)
    for column, title in enumerate(columns):
        draw.text((indent + column * (cell + _MARGIN), _MARGIN), title, fill="black", font=font)
    for number, (title, images) in enumerate(rows.items()):
        top = _LABEL_HEIGHT + _MARGIN + number * (cell + _MARGIN)
        draw.text((_MARGIN, top + cell // 2 - _MARGIN), title, fill="black", font=font)
        for column, image in enumerate(images):
            if image is not None:
                small = ImageOps.contain(image.convert("RGB"), (cell, cell), Image.Resampling.LANCZOS)
                table.paste(small, (indent + column * (cell + _MARGIN), top))
    return table


def fitted(image: Image.Image, size: int) -> Image.Image:
    """``image`` as it lies in a sheet's cell; ``size`` as for :func:`contact_sheet`."""
    cell = _cell(size)
    return ImageOps.contain(image.convert("RGB"), (cell, cell), Image.Resampling.LANCZOS)


def _cell(size: int) -> int:
    """Side of a cell, pixels."""
    return min(max(size, _SMALLEST_CELL), _LARGEST_CELL)


def sample_of(sheet: Image.Image) -> Image.Image:
    """The first picture of the last row: a sample from when the concept had just been learned.

    Raises:
        ValueError: this is no sheet of two rows, before and after.
    """
    return cells_of(sheet, 2)[-1][0]


def cells_of(sheet: Image.Image, rows: int) -> list[list[Image.Image]]:
    """The pictures of a contact sheet, row by row, as they lie there.

    Raises:
        ValueError: this is no sheet of so many rows.
    """
    cell, rest = divmod(sheet.height - _MARGIN - rows * (_LABEL_HEIGHT + _MARGIN), rows)
    sane = _SMALLEST_CELL <= cell <= _LARGEST_CELL
    columns, beside = divmod(sheet.width - _MARGIN, cell + _MARGIN) if sane else (0, 0)
    if not columns or rest or beside:
        message = f"a picture of {sheet.width} x {sheet.height} pixels is not a contact sheet"
        raise ValueError(message)
    tops = [_MARGIN + row * (cell + _LABEL_HEIGHT + _MARGIN) + _LABEL_HEIGHT for row in range(rows)]
    lefts = [_MARGIN + column * (cell + _MARGIN) for column in range(columns)]
    return [[sheet.crop((left, top, left + cell, top + cell)) for left in lefts] for top in tops]


def read_sample(sheet: Path) -> Image.Image | None:
    """:func:`sample_of` a file; None if it is missing, damaged, or no contact sheet."""
    picture = read_picture(sheet)
    try:
        return None if picture is None else sample_of(picture)
    except ValueError:
        return None


def read_cells(sheet: Path, rows: int) -> list[list[Image.Image]] | None:
    """:func:`cells_of` a file; None if it is missing, damaged, or no contact sheet of so many rows."""
    picture = read_picture(sheet)
    try:
        return None if picture is None else cells_of(picture, rows)
    except ValueError:
        return None


def read_picture(file: Path) -> Image.Image | None:
    """A PNG that clora has written; None if it is missing, damaged or far larger than one."""
    try:
        with Image.open(file, formats=("PNG",)) as opened:
            too_large = opened.width * opened.height > _MOST_PIXELS
            return None if too_large else opened.convert("RGB")
    # Pillow raises whatever its decoders do.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
